import { randomUUID } from 'node:crypto';
import type { AccessPolicy_KeyPermission } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { until } from '../cloud/until.ts';
import { allowSet, encryptionPermissions } from '../cloud/world.ts';
import type { CauseName } from './causes.ts';
import type { Place } from './place.ts';

/** The key of one fleet, and who may use it. */
export interface Keyed {
  /** `subscriptions/<s>/resourceGroups/<g>` of everything here. */
  readonly group: string;
  readonly vault: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  readonly keyVersion: string;
  readonly set: string;
  /** `principals/<uuid>` of the set's managed identity. */
  readonly identity: string;
}

/** How a cause is brought about, and undone. */
export interface Deed {
  /** Whether the vault of the fleet goes by roles instead of access policies. */
  readonly byRoles?: true;
  readonly keyExpiry?: 'NEXT_START';
  /** Resolves once the vault has decided; for causes of two steps calls `stopped` in between. */
  inflict(place: Place, keyed: Keyed, stopped: () => Promise<void>): Promise<void>;
  /** The way back. */
  undo(place: Place, keyed: Keyed): Promise<void>;
}

const hourMs = 3_600_000;
const inMs = (ms: number): Date => new Date(Date.now() + ms);

/** Gives the set's identity the role it needs on the vault. */
export const assignRole = ({ identity }: Place, keyed: Keyed): Promise<unknown> =>
  identity.createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal: keyed.identity,
    role: 'roles/keyVaultCryptoServiceEncryptionUser',
    scope: `${keyed.group}/${keyed.vault}`,
  });

const grantAgain = async ({ keyVault }: Place, { vault, identity }: Keyed): Promise<void> => {
  await allowSet({ keyVault }, vault, identity);
};

/** Lets the version end in a moment, and waits until the vault says so. */
const expire = async ({ keyVault }: Place, { keyVersion }: Keyed): Promise<void> => {
  await keyVault.setKeyVersionDates({ name: keyVersion, expireTime: inMs(200) });
  await until('the key has expired', async () =>
    keyVault.checkAccess({ keyVersion }).then(
      () => false,
      (error: { readonly reason?: string }) => error.reason === 'KEY_EXPIRED',
    ),
  );
};
const moveExpiry = async ({ keyVault }: Place, { keyVersion }: Keyed): Promise<void> => {
  await keyVault.setKeyVersionDates({ name: keyVersion, expireTime: inMs(hourMs) });
};

/** Leaves the set's identity without one of the three permissions. */
const without = (missing: AccessPolicy_KeyPermission): Deed => ({
  async inflict({ keyVault }, { vault, identity }) {
    const keyPermissions = encryptionPermissions.filter((one) => one !== missing);
    await keyVault.setAccessPolicy({ name: vault, accessPolicy: { principal: identity, keyPermissions } });
  },
  undo: grantAgain,
});

/** The deeds behind the causes. */
export const deeds: Readonly<Record<CauseName, Deed>> = {
  'version disabled': {
    inflict: async ({ keyVault }, { keyVersion }) => void (await keyVault.disableKeyVersion({ name: keyVersion })),
    undo: async ({ keyVault }, { keyVersion }) => void (await keyVault.enableKeyVersion({ name: keyVersion })),
  },
  'not yet valid': {
    async inflict({ keyVault }, { keyVersion }) {
      await keyVault.setKeyVersionDates({ name: keyVersion, notBefore: inMs(hourMs) });
    },
    async undo({ keyVault }, { keyVersion }) {
      await keyVault.setKeyVersionDates({ name: keyVersion, notBefore: inMs(-hourMs) });
    },
  },
  expired: { inflict: expire, undo: moveExpiry },
  'expired, next start': { keyExpiry: 'NEXT_START', inflict: expire, undo: moveExpiry },
  'key deleted': {
    inflict: async ({ keyVault }, { key }) => void (await keyVault.deleteKey({ name: key, confirmName: key })),
    undo: async ({ keyVault }, { key }) => void (await keyVault.recoverKey({ name: key })),
  },
  'key purged': {
    async inflict({ keyVault }, { key }, stopped) {
      await keyVault.deleteKey({ name: key, confirmName: key });
      await stopped();
      await keyVault.purgeKey({ name: key, confirmName: key });
    },
    // Nothing brings it back, not even another key: that serves new disks only.
    async undo({ keyVault, sets }, { vault, set }) {
      const { keyUrl } = await keyVault.createKey({ parent: vault, keyId: 'k2', requestId: randomUUID() });
      await sets.assignKey({ name: set, keyUrl });
    },
  },
  'vault deleted': {
    inflict: async ({ keyVault }, { vault }) => void (await keyVault.deleteVault({ name: vault, confirmName: vault })),
    undo: async ({ keyVault }, { vault }) => void (await keyVault.recoverVault({ name: vault })),
  },
  'vault deleted and recovered': {
    byRoles: true,
    async inflict({ keyVault }, { vault }, stopped) {
      await keyVault.deleteVault({ name: vault, confirmName: vault });
      await stopped();
      await keyVault.recoverVault({ name: vault });
    },
    undo: async (place, keyed) => void (await assignRole(place, keyed)),
  },
  'access policy removed': {
    async inflict({ keyVault }, { vault, identity }) {
      await keyVault.removeAccessPolicy({ name: vault, principal: identity });
    },
    undo: grantAgain,
  },
  'role removed': {
    byRoles: true,
    async inflict({ identity }, keyed) {
      const { roleAssignments } = await identity.listRoleAssignments({ principal: keyed.identity });
      for (const { name } of roleAssignments) await identity.deleteRoleAssignment({ name });
    },
    undo: async (place, keyed) => void (await assignRole(place, keyed)),
  },
  'get missing': without('GET'),
  'wrapKey missing': without('WRAP_KEY'),
  'unwrapKey missing': without('UNWRAP_KEY'),
  'identity deleted': {
    inflict: async ({ identity }, keyed) => void (await identity.deletePrincipal({ name: keyed.identity })),
    // A deleted principal never comes back: the set gets another one, which needs a grant of its own (CMK-39).
    async undo(place, keyed) {
      await place.sets.updateDiskEncryptionSet({ name: keyed.set, identityType: 'SYSTEM_ASSIGNED' });
      const { identity } = await place.sets.getDiskEncryptionSet({ name: keyed.set });
      await grantAgain(place, { ...keyed, identity: identity?.principal ?? '' });
    },
  },
  'identity set to none': {
    inflict: async ({ sets }, { set }) =>
      void (await sets.updateDiskEncryptionSet({ name: set, identityType: 'NONE' })),
    async undo(place, keyed) {
      await place.sets.updateDiskEncryptionSet({ name: keyed.set, identityType: 'SYSTEM_ASSIGNED' });
      const { identity } = await place.sets.getDiskEncryptionSet({ name: keyed.set });
      await grantAgain(place, { ...keyed, identity: identity?.principal ?? '' });
    },
  },
  'vault unreachable': {
    inflict: ({ cloud }) => cloud.stop('key-vault'),
    undo: ({ cloud }) => cloud.start('key-vault'),
  },
  'permission model switched': {
    async inflict({ keyVault }, { vault }) {
      await keyVault.setPermissionModel({ name: vault, permissionModel: 'ROLE_ASSIGNMENT' });
    },
    async undo({ keyVault }, { vault }) {
      await keyVault.setPermissionModel({ name: vault, permissionModel: 'ACCESS_POLICY' });
    },
  },
};
