import { randomUUID } from 'node:crypto';
import type { CallableKeyAction, Step } from '@interlock/lab';
import { type Clock, systemClock } from '@interlock/runtime';
import { encryptionRole, readKeyState } from '../cloud/key-state.ts';
import { carryOutKeyAction, planKeyAction, undoKeyAction } from '../experiments/cloud/key-actions.ts';
import type { CauseName } from './causes.ts';
import type { Place } from './place.ts';

/** The key of one fleet, and the set that may use it. */
export interface Keyed {
  /** `subscriptions/<s>/resourceGroups/<g>` of all resources here. */
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
export type Owner = Pick<Place, 'administrator' | 'identity' | 'keyVault' | 'sets' | 'disks'> & {
  /** The clock of the services; default: that of the system. */
  readonly clock?: Clock;
};

/** How a cause is brought about. `By` is what that needs. */
export interface Deed<By = Owner> {
  /** Whether the vault of the fleet uses role assignments instead of access policies. */
  readonly byRoles?: true;
  readonly keyExpiry?: 'NEXT_START';
  /** Takes the key away; a cause of two steps calls `stopped` in between. */
  inflict(by: By, keyed: Keyed, stopped: () => Promise<void>): Promise<Inflicted>;
}

/** The effect on a key. */
export interface Inflicted {
  /** When it takes effect, in milliseconds since the epoch; undefined: at once. */
  readonly effectMs?: number;
  /** Restores access. */
  undo(): Promise<unknown>;
}

/** Gives the set's identity the role that it needs on the vault. */
export const assignRole = ({ identity }: Owner, keyed: Keyed): Promise<unknown> =>
  identity.createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal: keyed.identity,
    role: encryptionRole,
    scope: `${keyed.group}/${keyed.vault}`,
  });

/** An action of the key's owner, as in experiments. */
const byAction =
  (action: CallableKeyAction, options: Step['options'] = {}): Deed['inflict'] =>
  async (clients, { group: resourceGroup, vault, key, set }) => {
    const ownerToken = () => Promise.reject(new Error('no cause assigns a key'));
    const { clock = systemClock } = clients;
    const owner = { clients, now: clock.now, ownerToken };
    const state = await readKeyState(clients, { resourceGroup, vault, key, set });
    const plan = planKeyAction({ action, options }, { key: state, uuid: randomUUID });
    const { effectMs } = await carryOutKeyAction(owner, action, plan);
    if (effectMs !== undefined) await clock.sleep(effectMs - clock.now());
    return { ...(effectMs === undefined ? {} : { effectMs }), undo: () => undoKeyAction(owner, action, plan) };
  };

/** Operations of a version that a set cannot do without. */
const encryptionOperations = ['WRAP_KEY', 'UNWRAP_KEY'] as const;

/** Removes one of the two operations from the version itself: no grant can replace it (KV-88). */
const keyWithout = (missing: (typeof encryptionOperations)[number]): Deed => ({
  async inflict({ keyVault }, { keyVersion: name }) {
    const keyOperations = encryptionOperations.filter((one) => one !== missing);
    await keyVault.setKeyOperations({ name, keyOperations });
    return { undo: () => keyVault.setKeyOperations({ name, keyOperations: [...encryptionOperations] }) };
  },
});

/** Actions of the key's owner. */
export const deeds: Readonly<Record<Exclude<CauseName, keyof typeof accidents>, Deed>> = {
  'version disabled': { inflict: byAction('disable-key') },
  'not yet valid': { inflict: byAction('not-yet-valid') },
  expired: { inflict: byAction('expire-key') },
  'expired, next start': { keyExpiry: 'NEXT_START', inflict: byAction('expire-key') },
  'key deleted': { inflict: byAction('delete-key') },
  'key purged': {
    async inflict(by, keyed, stopped) {
      const { key, vault, set } = keyed;
      await byAction('delete-key')(by, keyed, stopped);
      await stopped();
      await by.keyVault.purgeKey({ name: key, confirmName: key });
      // Nothing restores the data. Another key serves new disks only.
      const undo = async (): Promise<void> => {
        const { keyUrl } = await by.keyVault.createKey({ parent: vault, keyId: 'k2', requestId: randomUUID() });
        await by.sets.assignKey({ name: set, keyUrl });
      };
      return { undo };
    },
  },
  'vault deleted': { inflict: byAction('delete-vault') },
  'vault deleted and recovered': {
    byRoles: true,
    async inflict(by, keyed, stopped) {
      await byAction('delete-vault')(by, keyed, stopped);
      await stopped();
      await by.keyVault.recoverVault({ name: keyed.vault });
      return { undo: () => assignRole(by, keyed) };
    },
  },
  'access policy removed': { inflict: byAction('remove-policy') },
  'role removed': { byRoles: true, inflict: byAction('remove-role') },
  'get missing': { inflict: byAction('remove-permission', { permission: 'get' }) },
  'wrapKey missing': { inflict: byAction('remove-permission', { permission: 'wrap' }) },
  'unwrapKey missing': { inflict: byAction('remove-permission', { permission: 'unwrap' }) },
  'wrapKey taken from the key': keyWithout('WRAP_KEY'),
  'unwrapKey taken from the key': keyWithout('UNWRAP_KEY'),
  'permission model switched': { inflict: byAction('switch-permission-model') },
  'identity deleted': { inflict: byAction('delete-identity') },
  'identity set to none': { inflict: byAction('set-identity-none') },
};

/** Causes that no owner decided. */
const accidents = {
  'vault unreachable': {
    async inflict({ cloud }) {
      await cloud.stop('key-vault');
      return { undo: () => cloud.start('key-vault') };
    },
  },
  throttled: {
    async inflict({ limitVaults, keyVault }, { keyVersion }) {
      // Less than one use during the whole test, and that one is used here.
      await limitVaults({ perSecond: 0.001, burst: 1 });
      await keyVault.wrapKey({ name: keyVersion, plaintextKey: new Uint8Array(32), algorithm: 'RSA_OAEP_256' });
      return { undo: () => limitVaults(undefined) };
    },
  },
} as const satisfies Readonly<Record<string, Deed<Place>>>;

/** How a cause is brought about at a place. */
export const deedOf = (name: CauseName): Deed<Place> =>
  name === 'vault unreachable' || name === 'throttled' ? accidents[name] : deeds[name];
