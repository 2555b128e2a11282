import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { service } from '@interlock/rpc';

/** Why the handlers of keys and vaults check permissions themselves: each refusal gets an audit entry in the vault's record. */
const byGuard = { authenticated: true, why: 'the grants of the vault, by its permission model' } as const;
const byRole = (action: string) =>
  ({ authenticated: true, why: `role with ${action} on the vault; refusals are on its record` }) as const;

/** Who may call each RPC. */
export const authorization: Parameters<typeof service<KeyVaultServiceDefinition>>[0]['authorization'] = {
  createVault: byRole('keyVault/vaults/write'),
  getVault: byRole('keyVault/vaults/read'),
  listVaults: { action: 'keyVault/vaults/read', scope: ({ parent }) => parent },
  enablePurgeProtection: byRole('keyVault/vaults/write'),
  setAccessPolicy: byRole('keyVault/vaults/write'),
  removeAccessPolicy: byRole('keyVault/vaults/write'),
  setPermissionModel: byRole('keyVault/vaults/write, and identity/roleAssignments/write to leave roles'),
  deleteVault: byRole('keyVault/vaults/delete'),
  recoverVault: byRole('keyVault/vaults/write'),
  purgeVault: byRole('keyVault/vaults/purge'),
  createKey: byGuard,
  importKey: byGuard,
  getKey: byGuard,
  getKeyVersion: byGuard,
  listKeys: byGuard,
  listKeyVersions: byGuard,
  disableKey: byGuard,
  enableKey: byGuard,
  enableKeyVersion: byGuard,
  disableKeyVersion: byGuard,
  setKeyVersionDates: byGuard,
  setKeyOperations: byGuard,
  setKeyTags: byGuard,
  rotateKey: byGuard,
  deleteKey: byGuard,
  recoverKey: byGuard,
  purgeKey: byGuard,
  getDeletedKey: byGuard,
  listDeletedKeys: byGuard,
  backupKey: byGuard,
  restoreKey: byGuard,
  encrypt: byGuard,
  decrypt: byGuard,
  wrapKey: byGuard,
  unwrapKey: byGuard,
  unwrapKeys: byGuard,
  sign: byGuard,
  verify: byGuard,
  checkAccess: byGuard,
  resolveKeyForEncryption: { workload: ['disk-encryption-set'] },
  findNewerKeyVersion: { workload: ['disk-encryption-set'] },
  authorizeImpactPreview: { workload: ['disk-encryption-set'] },
  authorizeRewrap: byGuard,
  rewrap: byGuard,
  rewrapKeys: byGuard,
  listAuditEntries: byRole('keyVault/vaults/read'),
  getHold: { action: 'platform/hold/read', scope: () => '/' },
  confirmKeyStates: { action: 'platform/hold/write', scope: () => '/' },
};
