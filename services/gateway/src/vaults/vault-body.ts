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

const vaultProperties = {
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
  tags: Type.Optional(Type.Record(Type.String(), Type.String())),
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

/** A policy as clients read it. */
const policyShown = (names: CloudNames, tenant: string, { principal, keyPermissions }: AccessPolicy): unknown => ({
  tenantId: names.tenants.shown(tenant.replace('tenants/', '')),
  objectId: principal.replace('principals/', ''),
  permissions: {
    keys: keyPermissions.map((one) => permissionNames.find(([, known]) => known === one)?.[0] ?? one),
    secrets: [],
    certificates: [],
    storage: [],
  },
});

/** What management alone knows of a vault. */
export interface VaultExtras {
  readonly tags: JsonObject;
}

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
      accessPolicies: vault.accessPolicies.map((policy) => policyShown(names, vault.tenant, policy)),
      enableRbacAuthorization: vault.permissionModel === PermissionModel.ROLE_ASSIGNMENT,
      enableSoftDelete: true,
      softDeleteRetentionInDays: vault.softDeleteRetentionDays,
      ...(vault.purgeProtectionEnabled ? { enablePurgeProtection: true } : {}),
      enabledForDeployment: false,
      enabledForDiskEncryption: false,
      enabledForTemplateDeployment: false,
      publicNetworkAccess: 'Enabled',
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
