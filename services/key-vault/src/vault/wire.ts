import type {
  AccessPolicy,
  AccessPolicy_KeyPermission,
  Vault_PermissionModel,
  Vault as WireVault,
} from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import type { KeyUrls } from '../names.ts';
import { vaultNotFound } from './decider.ts';
import type { AccessPolicies, KeyPermission, PermissionModel } from './events.ts';
import { networkRulesOnWire } from './network-rules.ts';
import { exists, type Vault } from './vault.ts';

/** Permissions as the API names them (KV-72). */
export const permissionOnWire = {
  all: 'ALL',
  get: 'GET',
  list: 'LIST',
  create: 'CREATE',
  import: 'IMPORT',
  update: 'UPDATE',
  delete: 'DELETE',
  recover: 'RECOVER',
  purge: 'PURGE',
  backup: 'BACKUP',
  restore: 'RESTORE',
  encrypt: 'ENCRYPT',
  decrypt: 'DECRYPT',
  wrapKey: 'WRAP_KEY',
  unwrapKey: 'UNWRAP_KEY',
  sign: 'SIGN',
  verify: 'VERIFY',
  release: 'RELEASE',
  rotate: 'ROTATE',
  getrotationpolicy: 'GET_ROTATION_POLICY',
  setrotationpolicy: 'SET_ROTATION_POLICY',
} as const satisfies Record<KeyPermission, AccessPolicy_KeyPermission>;

const permissions = Object.keys(permissionOnWire) as readonly KeyPermission[];

/** Permission models as the API names them. */
export const permissionModelOnWire = {
  access_policy: 'ACCESS_POLICY',
  role_assignment: 'ROLE_ASSIGNMENT',
} as const satisfies Record<PermissionModel, Vault_PermissionModel>;

/** @throws Rejection INVALID_ARGUMENT PERMISSION_MODEL_INVALID */
export const permissionModelFromWire = (model: Vault_PermissionModel): PermissionModel => {
  if (model === 'ACCESS_POLICY') return 'access_policy';
  if (model === 'ROLE_ASSIGNMENT') return 'role_assignment';
  throw new Rejection(
    'INVALID_ARGUMENT',
    'PERMISSION_MODEL_INVALID',
    `permission_model must be ACCESS_POLICY or ROLE_ASSIGNMENT, not ${model}`,
    { field: 'permission_model' },
  );
};

/**
 * Reads one access policy: its permissions in the order of the API, without repeats; `all` replaces the others.
 * @throws Rejection INVALID_ARGUMENT NAME_INVALID, KEY_PERMISSIONS_INVALID
 */
export const accessPolicyFromWire = (
  policy: AccessPolicy | undefined,
): { readonly principal: string; readonly permissions: readonly KeyPermission[] } => {
  const principal = policy?.principal ?? '';
  names.principal.parse(principal, 'access_policy.principal');
  const given = policy?.keyPermissions ?? [];
  const held = permissions.filter((permission) => given.includes(permissionOnWire[permission]));
  const isKnown = given.every((wire) => held.some((permission) => permissionOnWire[permission] === wire));
  if (held.length === 0 || !isKnown) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'KEY_PERMISSIONS_INVALID',
      `access_policy.key_permissions must be one or more of ${Object.values(permissionOnWire).join(', ')}`,
      { field: 'access_policy.key_permissions' },
    );
  }
  return { principal, permissions: held.includes('all') ? ['all'] : held };
};

/** Reads the policies of a new vault; the last policy of a principal counts. */
export const accessPoliciesFromWire = (policies: readonly AccessPolicy[]): AccessPolicies =>
  Object.fromEntries(policies.map(accessPolicyFromWire).map(({ principal, permissions: held }) => [principal, held]));

/** A vault as the API shows it. @throws Rejection NOT_FOUND VAULT_NOT_FOUND */
export const vaultOnWire = ({ id, state, version }: Loaded<Vault>, urls: KeyUrls): WireVault => {
  if (!exists(state)) throw vaultNotFound(id);
  const isDeleted = state.status !== 'active';
  return {
    name: `vaults/${id}`,
    resourceGroup: state.resourceGroup,
    tenant: state.tenant,
    location: state.location,
    sku: state.sku === 'premium' ? 'PREMIUM' : 'STANDARD',
    vaultUri: urls.vault(id),
    permissionModel: permissionModelOnWire[state.permissionModel],
    accessPolicies: Object.entries(state.accessPolicies).map(([principal, held]) => ({
      principal,
      keyPermissions: held.map((permission) => permissionOnWire[permission]),
    })),
    softDeleteRetentionDays: state.retentionDays,
    purgeProtectionEnabled: state.purgeProtected,
    state: isDeleted ? 'DELETED' : 'ACTIVE',
    deleteTime: isDeleted ? new Date(state.deletedAt) : undefined,
    scheduledPurgeTime: isDeleted ? new Date(state.purgeAt) : undefined,
    createTime: new Date(state.createdAt),
    networkRules: state.networkRules && networkRulesOnWire(state.networkRules),
    etag: String(version),
  };
};
