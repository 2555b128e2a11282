import {
  type AccessPolicy,
  AccessPolicy_KeyPermission as KeyPermission,
  Vault_PermissionModel as PermissionModel,
  type Vault,
} from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { JsonObject } from '@interlock/event-store';
import { type Static, Type } from '@sinclair/typebox';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { Int32 } from '../http/int32.ts';
import { armId, armIdOf, type ResourcePath, resourceBody } from '../management/arm.ts';
import { membersOf } from '../text/members.ts';
import { networkShown } from './network-rules.ts';

export const vaultType = 'Microsoft.KeyVault/vaults';

const Permissions = Type.Array(Type.String({ maxLength: 40 }), { maxItems: 40 });

const AccessPolicyBody = Type.Object({
  tenantId: Type.Optional(Type.String()),
  objectId: Type.String(),
  permissions: Type.Object({
    keys: Type.Optional(Permissions),
    secrets: Type.Optional(Permissions),
    certificates: Type.Optional(Permissions),
    storage: Type.Optional(Permissions),
  }),
});

const Flag = Type.Optional(Type.Boolean());

const vaultProperties = {
  enabledForDeployment: Flag,
  enabledForDiskEncryption: Flag,
  enabledForTemplateDeployment: Flag,
  publicNetworkAccess: Type.Optional(Type.String({ maxLength: 50 })),
  networkAcls: Type.Optional(
    Type.Object({
      bypass: Type.Optional(Type.String({ maxLength: 50 })),
      defaultAction: Type.Optional(Type.String({ maxLength: 50 })),
      ipRules: Type.Optional(Type.Array(Type.Object({ value: Type.String({ maxLength: 100 }) }), { maxItems: 1_000 })),
      virtualNetworkRules: Type.Optional(
        Type.Array(Type.Object({ id: Type.String({ maxLength: 500 }) }), { maxItems: 200 }),
      ),
    }),
  ),
  tenantId: Type.Optional(Type.String()),
  sku: Type.Optional(Type.Object({ name: Type.String() })),
  accessPolicies: Type.Optional(Type.Array(AccessPolicyBody, { maxItems: 1_024 })),
  enableRbacAuthorization: Type.Optional(Type.Boolean()),
  enableSoftDelete: Type.Optional(Type.Boolean()),
  softDeleteRetentionInDays: Type.Optional(Int32),
  enablePurgeProtection: Type.Optional(Type.Boolean()),
  createMode: Type.Optional(Type.String()),
};

export const VaultBody = resourceBody(vaultProperties);

/** Like a PUT, but the location is fixed and everything may be absent. */
export const VaultPatch = Type.Object({
  tags: Type.Optional(membersOf(Type.String())),
  properties: Type.Optional(Type.Object(vaultProperties)),
});

export const AccessPoliciesBody = Type.Object({
  properties: Type.Object({ accessPolicies: Type.Array(AccessPolicyBody) }),
});

export type VaultProperties = Static<typeof VaultBody>['properties'];
export type AccessPolicyGiven = Static<typeof AccessPolicyBody>;

/** Names of permissions in the public cloud; compared without case (KV-72). */
const permissionNames: readonly (readonly [string, KeyPermission])[] = [
  ['all', KeyPermission.ALL],
  ['get', KeyPermission.GET],
  ['list', KeyPermission.LIST],
  ['create', KeyPermission.CREATE],
  ['import', KeyPermission.IMPORT],
  ['update', KeyPermission.UPDATE],
  ['delete', KeyPermission.DELETE],
  ['recover', KeyPermission.RECOVER],
  ['purge', KeyPermission.PURGE],
  ['backup', KeyPermission.BACKUP],
  ['restore', KeyPermission.RESTORE],
  ['encrypt', KeyPermission.ENCRYPT],
  ['decrypt', KeyPermission.DECRYPT],
  ['wrapKey', KeyPermission.WRAP_KEY],
  ['unwrapKey', KeyPermission.UNWRAP_KEY],
  ['sign', KeyPermission.SIGN],
  ['verify', KeyPermission.VERIFY],
  ['release', KeyPermission.RELEASE],
  ['rotate', KeyPermission.ROTATE],
  ['getrotationpolicy', KeyPermission.GET_ROTATION_POLICY],
  ['setrotationpolicy', KeyPermission.SET_ROTATION_POLICY],
];

/** @throws RestError 400 */
const permissionOf = (name: string): KeyPermission => {
  const [, found] = permissionNames.find(([known]) => known.toLowerCase() === name.toLowerCase()) ?? [];
  if (found !== undefined) return found;
  const allowed = permissionNames.map(([known]) => known).join(', ');
  throw new RestError(400, 'BadRequest', `permissions.keys must be among ${allowed} (got "${name.slice(0, 50)}")`);
};

/** The policies of a request as the vault takes them; those without a permission on keys are left out: there are no secrets here. */
export const policiesOf = (given: readonly AccessPolicyGiven[]): AccessPolicy[] =>
  given
    .map(({ objectId, permissions }) => ({
      principal: `principals/${objectId.toLowerCase()}`,
      keyPermissions: [...new Set((permissions.keys ?? []).map(permissionOf))],
    }))
    .filter(({ keyPermissions }) => keyPermissions.length > 0);

/** Policies as clients read them: those of the vault, and permissions on what vaults here do not have. */
const policiesShown = (
  names: CloudNames,
  vault: Vault,
  others: VaultExtras['otherPermissions'],
): readonly unknown[] => {
  const ofKeys = new Map(
    vault.accessPolicies.map((one) => [one.principal.replace('principals/', ''), one.keyPermissions]),
  );
  return [...new Set([...ofKeys.keys(), ...Object.keys(others)])].map((objectId) => ({
    tenantId: names.tenants.shown(vault.tenant.replace('tenants/', '')),
    objectId,
    permissions: {
      keys: (ofKeys.get(objectId) ?? []).map((one) => permissionNames.find(([, known]) => known === one)?.[0] ?? one),
      secrets: [],
      certificates: [],
      storage: [],
      ...others[objectId],
    },
  }));
};

/** Permissions on secrets, certificates and storage accounts. */
type OtherPermissions = Readonly<Record<string, readonly string[]>>;

/** What management alone knows of a vault. */
export interface VaultExtras {
  readonly tags: JsonObject;
  /** Members of `properties` that have no effect here. */
  readonly kept: JsonObject;
  /** Networks here connect nothing, so these rules serve no caller. */
  readonly virtualNetworkRules: readonly { readonly id: string }[];
  /** By object id. */
  readonly otherPermissions: Readonly<Record<string, OtherPermissions>>;
}

export const noExtras: VaultExtras = { tags: {}, kept: {}, virtualNetworkRules: [], otherPermissions: {} };

const keptMembers = ['enabledForDeployment', 'enabledForDiskEncryption', 'enabledForTemplateDeployment'] as const;

/** What management keeps of a vault: what it kept before, and over it what a body has. */
export const extrasAfter = (
  before: VaultExtras,
  {
    tags = before.tags,
    properties = {},
  }: { readonly tags?: JsonObject | undefined; readonly properties?: VaultProperties },
): VaultExtras => {
  const given = keptMembers.filter((member) => properties[member] !== undefined);
  const kept = Object.fromEntries(given.map((member) => [member, properties[member]])) as JsonObject;
  const { accessPolicies: policies } = properties;
  const virtualNetworkRules = properties.networkAcls?.virtualNetworkRules ?? before.virtualNetworkRules;
  return {
    tags,
    kept: { ...before.kept, ...kept },
    virtualNetworkRules,
    otherPermissions: policies === undefined ? before.otherPermissions : othersIn(policies),
  };
};

/** The permissions of policies that are not on keys, without the principals that have none. */
export const othersIn = (policies: readonly AccessPolicyGiven[]): VaultExtras['otherPermissions'] =>
  Object.fromEntries(
    policies.flatMap(({ objectId, permissions: { keys: _keys, ...rest } }) => {
      const some = Object.entries(rest).filter(([, names]) => (names ?? []).length > 0);
      return some.length === 0 ? [] : [[objectId.toLowerCase(), Object.fromEntries(some) as OtherPermissions] as const];
    }),
  );

/** The vault as clients read it. @param path as the client wrote it; a list has none */
export const vaultBody = (names: CloudNames, vault: Vault, extras: VaultExtras, path?: ResourcePath): unknown => {
  const name = vault.name.replace('vaults/', '');
  const premium = vault.sku === 'PREMIUM';
  return {
    id:
      path === undefined
        ? armIdOf(names, `${vault.resourceGroup}/${vault.name}`, vaultType)
        : armId(path, vaultType, name),
    name,
    type: vaultType,
    location: vault.location,
    tags: extras.tags,
    systemData: { createdAt: vault.createTime?.toISOString() },
    properties: {
      tenantId: names.tenants.shown(vault.tenant.replace('tenants/', '')),
      sku: { family: 'A', name: premium ? 'premium' : 'standard' },
      accessPolicies: policiesShown(names, vault, extras.otherPermissions),
      enableRbacAuthorization: vault.permissionModel === PermissionModel.ROLE_ASSIGNMENT,
      enableSoftDelete: true,
      softDeleteRetentionInDays: vault.softDeleteRetentionDays,
      ...(vault.purgeProtectionEnabled ? { enablePurgeProtection: true } : {}),
      enabledForDeployment: false,
      enabledForDiskEncryption: false,
      enabledForTemplateDeployment: false,
      ...networkShown(vault, extras.virtualNetworkRules),
      ...extras.kept,
      vaultUri: `https://${name}.${names.vaultSuffix}/`,
      provisioningState: 'Succeeded',
    },
  };
};

/** A deleted vault as clients read it. */
export const deletedVaultBody = (names: CloudNames, vault: Vault, extras: VaultExtras): unknown => {
  const name = vault.name.replace('vaults/', '');
  const [, subscription = ''] = vault.resourceGroup.split('/');
  const shown = names.subscriptions.shown(subscription);
  return {
    id: `/subscriptions/${shown}/providers/Microsoft.KeyVault/locations/${vault.location}/deletedVaults/${name}`,
    name,
    type: 'Microsoft.KeyVault/deletedVaults',
    properties: {
      vaultId: armIdOf(names, `${vault.resourceGroup}/${vault.name}`, vaultType),
      location: vault.location,
      deletionDate: vault.deleteTime?.toISOString(),
      scheduledPurgeDate: vault.scheduledPurgeTime?.toISOString(),
      tags: extras.tags,
      ...(vault.purgeProtectionEnabled ? { purgeProtectionEnabled: true } : {}),
    },
  };
};
