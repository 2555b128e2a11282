import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { idIn, type VaultNames } from './names.ts';
import type { Place, VaultPlace } from './place.ts';
import { type Case, rowsOf } from './row.ts';
import { type KeyNeed, need, on, role, workload } from './rule.ts';
import type { Permission } from './who.ts';

/** An etag that no stream reaches: a permitted caller gets ETAG_MISMATCH, and nothing changes for the other cells. */
const staleEtag = '999999';
/** Request ids. */
const requested = { create: '1d0f5b3e-1c38-4a5f-8e4e-6f9a51f7b001', import: '1d0f5b3e-1c38-4a5f-8e4e-6f9a51f7b002' };
/** A version no key has. */
const noVersion = '0'.repeat(32);
/** As long as a result of a 2048-bit key, but not made by one. */
const notOfThisKey = Buffer.alloc(256, 1);
const digest = Buffer.alloc(32, 2);
const algorithm = 'RSA_OAEP_256';

/** A permission on a key that no other cell uses, or on the key that `of` names. */
const key = (permission: Permission, of = ({ missingKey }: VaultNames) => missingKey): KeyNeed => ({ permission, of });
const usedKey = (permission: Permission): KeyNeed => key(permission, (vault) => vault.key);
const wholeVault = (permission: Permission): KeyNeed => key(permission, ({ vault }) => vault);

/** The same request to a vault with access policies and to one with roles (KV-70). */
const inEachModel = <Request>(
  needs: readonly KeyNeed[],
  request: (vault: VaultPlace, place: Place) => Request,
  when?: string,
): readonly Case<Request>[] =>
  (['policyVault', 'roleVault'] as const).map((model) => ({
    ...(when === undefined ? {} : { when }),
    rule: { kind: 'vault', model, needs },
    request: (place) => request(place[model], place),
  }));

/** Managing a vault always requires a role (KV-70). A role on its keys does not count. */
const managing = (action: string) => role(need(action, on.vault, { near: 'keyVaultCryptoOfficer' }));

const changed = inEachModel([key('UPDATE')], ({ missingKey }) => ({
  name: `${missingKey}/versions/${noVersion}`,
  etag: staleEtag,
}));
const named = (permission: Permission) => inEachModel([key(permission)], ({ missingKey }) => ({ name: missingKey }));

/** CMK-25: all three permissions, on the source key of a rewrap and on its target key. */
const allOfBoth = [({ key: source }: VaultNames) => source, ({ targetKey }: VaultNames) => targetKey].flatMap((of) =>
  (['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const).map((permission) => key(permission, of)),
);

const authorizeMove = (
  sourceKeyVersion: string,
  { targetKeyVersion }: Pick<VaultPlace, 'targetKeyVersion'>,
  { set, identity }: Place,
) => ({ sourceKeyVersion, targetKeyVersion, principal: identity, diskEncryptionSet: set });

/** Who may call key-vault. */
export const keyVaultTable = rowsOf(
  'key-vault',
  KeyVaultServiceDefinition,
)({
  createVault: {
    rule: role(need('keyVault/vaults/write', on.newVault, { near: 'keyVaultCryptoOfficer' })),
    request: ({ tag, group }) => ({ vaultId: `new-${tag}`, resourceGroup: group, location: 'westeurope' }),
  },
  getVault: {
    rule: role(need('keyVault/vaults/read', on.vault)),
    request: ({ policyVault }) => ({ name: policyVault.vault }),
  },
  listVaults: {
    rule: role(need('keyVault/vaults/read', on.parent)),
    request: ({ group }) => ({ parent: group }),
  },
  enablePurgeProtection: {
    rule: managing('keyVault/vaults/write'),
    request: ({ policyVault }) => ({ name: policyVault.vault, etag: staleEtag }),
  },
  setAccessPolicy: {
    rule: managing('keyVault/vaults/write'),
    request: ({ policyVault, principal }) => ({
      name: policyVault.vault,
      accessPolicy: { principal, keyPermissions: ['GET'] },
      etag: staleEtag,
    }),
  },
  removeAccessPolicy: {
    rule: managing('keyVault/vaults/write'),
    request: ({ policyVault, principal }) => ({ name: policyVault.vault, principal, etag: staleEtag }),
  },
  setPermissionModel: [
    {
      when: 'to role assignments',
      rule: managing('keyVault/vaults/write'),
      request: ({ policyVault }) => ({ name: policyVault.vault, permissionModel: 'ROLE_ASSIGNMENT', etag: staleEtag }),
    },
    {
      // A writer of policies could otherwise switch from roles to policies and admit itself (KV-74).
      when: 'from role assignments',
      rule: role(
        need('keyVault/vaults/write', on.vaultWithRoles),
        need('identity/roleAssignments/write', on.vaultWithRoles, { opens: 'owner', near: 'contributor' }),
      ),
      request: ({ roleVault }) => ({ name: roleVault.vault, permissionModel: 'ACCESS_POLICY', etag: staleEtag }),
    },
  ],
  setNetworkRules: {
    rule: managing('keyVault/vaults/write'),
    request: ({ policyVault }) => ({ name: policyVault.vault, etag: staleEtag }),
  },
  deleteVault: {
    rule: managing('keyVault/vaults/delete'),
    request: ({ policyVault }) => ({ name: policyVault.vault, etag: staleEtag }),
  },
  recoverVault: {
    rule: managing('keyVault/vaults/write'),
    request: ({ policyVault }) => ({ name: policyVault.vault, etag: staleEtag }),
  },
  purgeVault: {
    rule: role(
      need('keyVault/vaults/purge', on.vault, { opens: 'keyVaultPurgeOperator', near: 'keyVaultCryptoOfficer' }),
    ),
    request: ({ policyVault }) => ({ name: policyVault.vault, etag: staleEtag }),
  },
  createKey: inEachModel([key('CREATE', ({ newKey }) => newKey)], ({ vault, newKey }) => ({
    parent: vault,
    keyId: idIn(newKey),
    keySizeBits: 2048,
    requestId: requested.create,
  })),
  importKey: inEachModel([key('IMPORT')], ({ vault, missingKey }) => ({
    parent: vault,
    keyId: idIn(missingKey),
    keyMaterial: { $case: 'pem', value: 'no key, so that none is made' },
    requestId: requested.import,
  })),
  getKey: named('GET'),
  getKeyVersion: named('GET'),
  listKeys: inEachModel([wholeVault('LIST')], ({ vault }) => ({ parent: vault })),
  listKeyVersions: inEachModel([key('LIST')], ({ missingKey }) => ({ parent: missingKey })),
  disableKey: named('UPDATE'),
  enableKey: named('UPDATE'),
  enableKeyVersion: changed,
  disableKeyVersion: changed,
  setKeyVersionDates: changed,
  setKeyOperations: changed,
  setKeyTags: changed,
  rotateKey: inEachModel([key('ROTATE')], ({ missingKey }) => ({ name: missingKey, requestId: requested.create })),
  getRotationPolicy: inEachModel([key('GET_ROTATION_POLICY')], ({ missingKey }) => ({ name: missingKey })),
  setRotationPolicy: inEachModel([key('SET_ROTATION_POLICY')], ({ missingKey }) => ({ name: missingKey })),
  deleteKey: named('DELETE'),
  recoverKey: named('RECOVER'),
  purgeKey: named('PURGE'),
  getDeletedKey: named('GET'),
  listDeletedKeys: inEachModel([wholeVault('LIST')], ({ vault }) => ({ parent: vault })),
  backupKey: named('BACKUP'),
  restoreKey: inEachModel([wholeVault('RESTORE')], ({ vault }) => ({
    parent: vault,
    backup: Buffer.from('no backup, so that no key is made'),
    requestId: requested.create,
  })),
  encrypt: inEachModel([usedKey('ENCRYPT')], (vault) => ({ name: vault.key, algorithm, plaintext: digest })),
  decrypt: inEachModel([usedKey('DECRYPT')], (vault) => ({ name: vault.key, algorithm, ciphertext: notOfThisKey })),
  wrapKey: inEachModel([usedKey('WRAP_KEY')], (vault) => ({ name: vault.key, algorithm, plaintextKey: digest })),
  unwrapKey: inEachModel([usedKey('UNWRAP_KEY')], (vault) => ({
    name: vault.key,
    algorithm,
    wrappedKey: notOfThisKey,
  })),
  unwrapKeys: inEachModel([usedKey('UNWRAP_KEY')], (vault) => ({
    items: [{ unwrap: { name: vault.key, algorithm, wrappedKey: notOfThisKey } }],
  })),
  sign: inEachModel([usedKey('SIGN')], (vault) => ({ name: vault.key, algorithm: 'RS256', digest })),
  verify: inEachModel([usedKey('VERIFY')], (vault) => ({
    name: vault.key,
    algorithm: 'RS256',
    digest,
    signature: notOfThisKey,
  })),
  // CMK-25: all three.
  checkAccess: inEachModel([usedKey('GET'), usedKey('WRAP_KEY'), usedKey('UNWRAP_KEY')], ({ keyVersion }) => ({
    keyVersion,
  })),
  resolveKeyForEncryption: {
    rule: workload('disk-encryption-set'),
    request: ({ policyVault, set }) => ({ keyUrl: policyVault.keyUrl, resource: set }),
  },
  findNewerKeyVersion: {
    rule: workload('disk-encryption-set'),
    request: ({ policyVault, set }) => ({ keyVersion: policyVault.keyVersion, resource: set }),
  },
  authorizeImpactPreview: {
    rule: workload('disk-encryption-set'),
    request: ({ policyVault }) => ({ name: policyVault.key, change: 'KEY_CHANGE_DISABLE' }),
  },
  // CMK-10: a caller that authorizes the move must be able to make the source usable again.
  authorizeRewrap: [
    ...inEachModel(
      [key('UPDATE', ({ disabledKey }) => disabledKey)],
      ({ disabledKeyVersion, ...vault }, place) => authorizeMove(disabledKeyVersion, vault, place),
      'a disabled source',
    ),
    ...inEachModel(
      [key('RECOVER', ({ deletedKey }) => deletedKey)],
      ({ deletedKeyVersion, ...vault }, place) => authorizeMove(deletedKeyVersion, vault, place),
      'a deleted source',
    ),
  ],
  rewrap: inEachModel(allOfBoth, ({ keyVersion, targetKeyVersion }, { set }) => ({
    sourceKeyVersion: keyVersion,
    targetKeyVersion,
    wrappedKey: notOfThisKey,
    algorithm,
    diskEncryptionSet: set,
  })),
  rewrapKeys: inEachModel(allOfBoth, ({ keyVersion, targetKeyVersion }, { set }) => ({
    items: [
      {
        rewrap: {
          sourceKeyVersion: keyVersion,
          targetKeyVersion,
          wrappedKey: notOfThisKey,
          algorithm,
          diskEncryptionSet: set,
        },
      },
    ],
  })),
  listAuditEntries: {
    rule: role(need('keyVault/vaults/read', on.vault)),
    request: ({ policyVault }) => ({ parent: policyVault.vault, pageSize: 1 }),
  },
  getHold: { rule: role(need('platform/hold/read', on.platform)), request: () => ({}) },
  // There is no hold: a permitted caller gets HOLD_NOT_FOUND.
  confirmKeyStates: { rule: role(need('platform/hold/write', on.platform)), request: () => ({ holdId: 'none' }) },
});
