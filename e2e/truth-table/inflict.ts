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

/** The owner of keys, sets and principals. */
export type Owner = Pick<Place, 'administrator' | 'identity' | 'keyVault' | 'sets' | 'disks'>;

/** How a cause is brought about, and undone. `By` is what it takes. */
export interface Deed<By = Owner> {
  /** Whether the vault of the fleet goes by roles instead of access policies. */
  readonly byRoles?: true;
  readonly keyExpiry?: 'NEXT_START';
  /**
   * Takes the key away; a cause of two steps calls `stopped` in between.
   * @returns when that counts, in milliseconds since the epoch; `undefined`: at once
   */
  inflict(by: By, keyed: Keyed, stopped: () => Promise<void>): Promise<number | undefined>;
  /** The way back. */
  undo(by: By, keyed: Keyed): Promise<unknown>;
}

const hourMs = 3_600_000;
/** How far ahead the end of a key is set. */
const expiryMs = 200;
const inMs = (ms: number): Date => new Date(Date.now() + ms);

/** What is done at once. */
const atOnce = async (...deeds: readonly Promise<unknown>[]): Promise<undefined> => {
  await Promise.all(deeds);
};

/** Gives the set's identity the role it needs on the vault. */
export const assignRole = ({ identity }: Owner, keyed: Keyed): Promise<unknown> =>
  identity.createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal: keyed.identity,
    role: 'roles/keyVaultCryptoServiceEncryptionUser',
    scope: `${keyed.group}/${keyed.vault}`,
  });

const grantAgain = ({ keyVault }: Owner, { vault, identity }: Keyed): Promise<unknown> =>
  allowSet({ keyVault }, vault, identity);

/** Lets the version end in a moment, and waits until the vault says so. */
const expire = async ({ keyVault }: Owner, { keyVersion }: Keyed): Promise<number> => {
  const { expireTime } = await keyVault.setKeyVersionDates({ name: keyVersion, expireTime: inMs(expiryMs) });
  await until('the key has expired', async () =>
    keyVault.checkAccess({ keyVersion }).then(
      () => false,
      (error: { readonly reason?: string }) => error.reason === 'KEY_EXPIRED',
    ),
  );
  if (!expireTime) throw new Error(`${keyVersion} was given an end and has none`);
  return expireTime.getTime();
};
const moveExpiry = ({ keyVault }: Owner, { keyVersion }: Keyed): Promise<unknown> =>
  keyVault.setKeyVersionDates({ name: keyVersion, expireTime: inMs(hourMs) });

/** Leaves the set's identity without one of the three permissions. */
const without = (missing: AccessPolicy_KeyPermission): Deed => ({
  inflict({ keyVault }, { vault, identity }) {
    const keyPermissions = encryptionPermissions.filter((one) => one !== missing);
    return atOnce(keyVault.setAccessPolicy({ name: vault, accessPolicy: { principal: identity, keyPermissions } }));
  },
  undo: grantAgain,
});

/** Operations of a version that a set cannot do without. */
const encryptionOperations = ['WRAP_KEY', 'UNWRAP_KEY'] as const;

/** Leaves the version itself without one of the two: no grant makes up for that (KV-88). */
const keyWithout = (missing: (typeof encryptionOperations)[number]): Deed => ({
  inflict({ keyVault }, { keyVersion: name }) {
    const keyOperations = encryptionOperations.filter((one) => one !== missing);
    return atOnce(keyVault.setKeyOperations({ name, keyOperations }));
  },
  undo: ({ keyVault }, { keyVersion: name }) =>
    keyVault.setKeyOperations({ name, keyOperations: [...encryptionOperations] }),
});

/** A deleted principal never comes back: the set gets another one, which needs a grant of its own (CMK-39). */
const giveIdentity = async (by: Owner, keyed: Keyed): Promise<void> => {
  const set = await by.sets.updateDiskEncryptionSet({ name: keyed.set, identityType: 'SYSTEM_ASSIGNED' });
  await grantAgain(by, { ...keyed, identity: set.identity?.principal ?? '' });
};

/** What its owner does to a key. */
export const deeds: Readonly<Record<Exclude<CauseName, keyof typeof accidents>, Deed>> = {
  'version disabled': {
    inflict: ({ keyVault }, { keyVersion }) => atOnce(keyVault.disableKeyVersion({ name: keyVersion })),
    undo: ({ keyVault }, { keyVersion }) => keyVault.enableKeyVersion({ name: keyVersion }),
  },
  'not yet valid': {
    inflict: ({ keyVault }, { keyVersion }) =>
      atOnce(keyVault.setKeyVersionDates({ name: keyVersion, notBefore: inMs(hourMs) })),
    undo: ({ keyVault }, { keyVersion }) => keyVault.setKeyVersionDates({ name: keyVersion, notBefore: inMs(-hourMs) }),
  },
  expired: { inflict: expire, undo: moveExpiry },
  'expired, next start': { keyExpiry: 'NEXT_START', inflict: expire, undo: moveExpiry },
  'key deleted': {
    inflict: ({ keyVault }, { key }) => atOnce(keyVault.deleteKey({ name: key, confirmName: key })),
    undo: ({ keyVault }, { key }) => keyVault.recoverKey({ name: key }),
  },
  'key purged': {
    async inflict({ keyVault }, { key }, stopped) {
      await keyVault.deleteKey({ name: key, confirmName: key });
      await stopped();
      return atOnce(keyVault.purgeKey({ name: key, confirmName: key }));
    },
    // Nothing brings it back, not even another key: that serves new disks only.
    async undo({ keyVault, sets }, { vault, set }) {
      const { keyUrl } = await keyVault.createKey({ parent: vault, keyId: 'k2', requestId: randomUUID() });
      await sets.assignKey({ name: set, keyUrl });
    },
  },
  'vault deleted': {
    inflict: ({ keyVault }, { vault }) => atOnce(keyVault.deleteVault({ name: vault, confirmName: vault })),
    undo: ({ keyVault }, { vault }) => keyVault.recoverVault({ name: vault }),
  },
  'vault deleted and recovered': {
    byRoles: true,
    async inflict({ keyVault }, { vault }, stopped) {
      await keyVault.deleteVault({ name: vault, confirmName: vault });
      await stopped();
      return atOnce(keyVault.recoverVault({ name: vault }));
    },
    undo: assignRole,
  },
  'access policy removed': {
    inflict: ({ keyVault }, { vault, identity }) =>
      atOnce(keyVault.removeAccessPolicy({ name: vault, principal: identity })),
    undo: grantAgain,
  },
  'role removed': {
    byRoles: true,
    async inflict({ identity }, keyed) {
      const { roleAssignments } = await identity.listRoleAssignments({ principal: keyed.identity });
      return atOnce(...roleAssignments.map(({ name }) => identity.deleteRoleAssignment({ name })));
    },
    undo: assignRole,
  },
  'get missing': without('GET'),
  'wrapKey missing': without('WRAP_KEY'),
  'unwrapKey missing': without('UNWRAP_KEY'),
  'wrapKey taken from the key': keyWithout('WRAP_KEY'),
  'unwrapKey taken from the key': keyWithout('UNWRAP_KEY'),
  'permission model switched': {
    inflict: ({ keyVault }, { vault }) =>
      atOnce(keyVault.setPermissionModel({ name: vault, permissionModel: 'ROLE_ASSIGNMENT', confirmName: vault })),
    undo: ({ keyVault }, { vault }) =>
      keyVault.setPermissionModel({ name: vault, permissionModel: 'ACCESS_POLICY', confirmName: vault }),
  },
  'identity deleted': {
    inflict: ({ identity }, keyed) =>
      atOnce(identity.deletePrincipal({ name: keyed.identity, confirmName: keyed.identity })),
    undo: giveIdentity,
  },
  'identity set to none': {
    inflict: ({ sets }, { set }) => atOnce(sets.updateDiskEncryptionSet({ name: set, identityType: 'NONE' })),
    undo: giveIdentity,
  },
};

/** Causes that no owner decided. */
const accidents = {
  'vault unreachable': {
    inflict: ({ cloud }) => atOnce(cloud.stop('key-vault')),
    undo: ({ cloud }) => cloud.start('key-vault'),
  },
  throttled: {
    async inflict({ limitVaults, keyVault }, { keyVersion }) {
      // Less than one use in all the time of a test, and that one is had here.
      await limitVaults({ perSecond: 0.001, burst: 1 });
      return atOnce(
        keyVault.wrapKey({ name: keyVersion, plaintextKey: new Uint8Array(32), algorithm: 'RSA_OAEP_256' }),
      );
    },
    undo: ({ limitVaults }) => limitVaults(undefined),
  },
} as const satisfies Readonly<Record<string, Deed<Place>>>;

/** How a cause is brought about at a place. */
export const deedOf = (name: CauseName): Deed<Place> =>
  name === 'vault unreachable' || name === 'throttled' ? accidents[name] : deeds[name];
