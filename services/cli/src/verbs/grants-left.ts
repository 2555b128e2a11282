import type { JsonObject } from '@bufbuild/protobuf';
import { setPermissions, setPermissionsOnWire } from '@interlock/access/permissions';
import type { Caller } from '../request/calls.ts';
import { readList } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import { policyOf, textsIn } from './before.ts';

/** Permissions on a key that a set's identity needs, as roles write them. */
const actions = setPermissions.map((permission) => `keyVault/keys/${permission}`);

/** Whether the access policies of a vault let a principal use its keys for disks. */
export function hasPolicy(vault: JsonObject, principal: string): boolean {
  const permissions = textsIn(policyOf(vault, principal)?.keyPermissions);
  return permissions.includes('ALL') || setPermissionsOnWire.every((one) => permissions.includes(one));
}

/** Whose roles on which keys. */
export interface RolesOn {
  readonly principal: string;
  /** Vaults of the key versions; a version of another vault is not judged. */
  readonly vaults: readonly JsonObject[];
  readonly keyVersions: readonly string[];
  /** Name of an assignment that does not count. */
  readonly without?: string;
}

/** Whether role assignments let a principal use every one of these key versions for disks. @throws Rejection, RpcFailure */
export async function hasRoles(
  { principal, vaults, keyVersions, without }: RolesOn,
  caller: Pick<Caller, 'call'>,
): Promise<boolean> {
  const list = methodOf(Service.identity, 'ListRoleAssignments');
  const assignments = await readList(caller, 'identity', list, { principal });
  const roles = await readList(caller, 'identity', methodOf(Service.identity, 'ListRoles'));
  const actionsOf = new Map(roles.map(({ name, dataActions }) => [name, textsIn(dataActions)]));
  const counted = assignments.filter(({ name }) => name !== without);
  const judged = keyVersions.flatMap((version) => {
    const [, vaultId, , key] = version.split('/');
    const vault = vaults.find(({ name }) => name === `vaults/${vaultId}`);
    return vault === undefined ? [] : [`${String(vault.resourceGroup)}/vaults/${vaultId}/keys/${key}`];
  });
  return judged.every((path) => {
    const allowed = counted
      .filter(({ scope }) => covers(String(scope), path))
      .flatMap(({ role }) => actionsOf.get(role) ?? []);
    return actions.every((action) => allowed.some((pattern) => pattern === action || pattern === 'keyVault/keys/*'));
  });
}

/** The vaults of key versions. @throws Rejection, RpcFailure */
export async function vaultsOf(
  keyVersions: readonly string[],
  { call }: Pick<Caller, 'call'>,
): Promise<readonly JsonObject[]> {
  const names = new Set(keyVersions.map((version) => version.split('/').slice(0, 2).join('/')));
  const get = methodOf(Service.keyVault, 'GetVault');
  return Promise.all([...names].map((name) => call('key-vault', get, { name })));
}

/** Whether an assignment at a scope counts for what lies at a path. The platform and a tenant contain every vault of the tenant. */
const covers = (scope: string, path: string): boolean =>
  scope === '/' || scope.startsWith('tenants/') || path === scope || path.startsWith(`${scope}/`);
