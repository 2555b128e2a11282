import {
  type AccessPolicy,
  Vault_PermissionModel as PermissionModel,
  type Vault,
} from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { networkRulesAfter } from './network-rules.ts';
import { policiesOf, type VaultExtras, type VaultProperties } from './vault-body.ts';

type KeyVault = Backends['keyVault'];

/**
 * Makes a vault what a PUT or PATCH describes. What is absent stays. The service has a call for each part; grants come last, so a
 * caller that removes its own grants has done everything else.
 * @throws RestError 400 for a change that no vault allows
 */
export const changeVault = async (
  keyVault: KeyVault,
  caller: Caller,
  before: Vault,
  properties: VaultProperties,
): Promise<Vault> => {
  refuseFixed(before, properties);
  const options = caller.as('key-vault');
  const { name } = before;
  let vault = before;
  if (properties.enablePurgeProtection === true && !vault.purgeProtectionEnabled) {
    vault = await keyVault.enablePurgeProtection({ name }, options);
  }
  if (properties.accessPolicies !== undefined) {
    vault = await replacePolicies(keyVault, caller, vault, policiesOf(properties.accessPolicies));
  }
  const networkRules = networkRulesAfter(vault.networkRules, properties);
  if (networkRules !== undefined)
    vault = await keyVault.setNetworkRules({ name, networkRules, confirmName: name }, options);
  const permissionModel =
    properties.enableRbacAuthorization === undefined
      ? vault.permissionModel
      : modelOf(properties.enableRbacAuthorization);
  if (permissionModel !== vault.permissionModel) {
    // The public cloud requires no confirmation.
    vault = await keyVault.setPermissionModel({ name, permissionModel, confirmName: name }, options);
  }
  return vault;
};

/** The permission model that `enableRbacAuthorization` names. */
export const modelOf = (enableRbacAuthorization: boolean): PermissionModel =>
  enableRbacAuthorization ? PermissionModel.ROLE_ASSIGNMENT : PermissionModel.ACCESS_POLICY;

/** @throws RestError 400 (KV-60, KV-61, KV-62) */
export const refuseFixed = (vault: Vault | undefined, properties: VaultProperties): void => {
  const refuse = (message: string): RestError => new RestError(400, 'BadRequest', message);
  if (properties.enableSoftDelete === false) {
    throw refuse('The property "enableSoftDelete" cannot be set to false: soft delete is on for every vault.');
  }
  if (properties.enablePurgeProtection === false) {
    throw refuse(
      'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is an irreversible action.',
    );
  }
  const days = properties.softDeleteRetentionInDays;
  if (vault !== undefined && days !== undefined && days !== vault.softDeleteRetentionDays) {
    throw refuse(
      `The property "softDeleteRetentionInDays" has been set already and it can't be modified (it is ${vault.softDeleteRetentionDays}).`,
    );
  }
};

/** Sets the policies that differ and removes those that are not among them. */
export const replacePolicies = async (
  keyVault: KeyVault,
  caller: Caller,
  before: Vault,
  wanted: readonly AccessPolicy[],
): Promise<Vault> => {
  const options = caller.as('key-vault');
  const { name } = before;
  let vault = before;
  for (const accessPolicy of wanted) {
    const existing = before.accessPolicies.find(({ principal }) => principal === accessPolicy.principal);
    if (existing !== undefined && isSame(existing, accessPolicy)) continue;
    vault = await keyVault.setAccessPolicy({ name, accessPolicy }, options);
  }
  for (const { principal } of before.accessPolicies) {
    if (wanted.some((policy) => policy.principal === principal)) continue;
    vault = await keyVault.removeAccessPolicy({ name, principal }, options);
  }
  return vault;
};

const isSame = (one: AccessPolicy, other: AccessPolicy): boolean =>
  one.keyPermissions.toSorted().join() === other.keyPermissions.toSorted().join();

/** The policies after `add` or `remove` of permissions. */
export const mergedPolicies = (
  before: readonly AccessPolicy[],
  given: readonly AccessPolicy[],
  kind: 'add' | 'remove',
): readonly AccessPolicy[] => {
  const merged = new Map(before.map((policy) => [policy.principal, policy.keyPermissions]));
  for (const { principal, keyPermissions } of given) {
    const held = merged.get(principal) ?? [];
    merged.set(
      principal,
      kind === 'add'
        ? [...new Set([...held, ...keyPermissions])]
        : held.filter((permission) => !keyPermissions.includes(permission)),
    );
  }
  return [...merged]
    .map(([principal, keyPermissions]) => ({ principal, keyPermissions }))
    .filter(({ keyPermissions }) => keyPermissions.length > 0);
};

/** The permissions on other things than keys after `add`, `remove` or `replace`. */
export const othersAfter = (
  before: VaultExtras['otherPermissions'],
  given: VaultExtras['otherPermissions'],
  kind: 'add' | 'remove' | 'replace',
): VaultExtras['otherPermissions'] => {
  if (kind === 'replace') return given;
  const merged = { ...before };
  for (const [objectId, permissions] of Object.entries(given)) {
    const held = { ...merged[objectId] };
    for (const [things, names] of Object.entries(permissions)) {
      const had = held[things] ?? [];
      held[things] = kind === 'add' ? [...new Set([...had, ...names])] : had.filter((name) => !names.includes(name));
    }
    merged[objectId] = held;
  }
  return Object.fromEntries(
    Object.entries(merged).filter(([, permissions]) => Object.values(permissions).some((names) => names.length > 0)),
  );
};
