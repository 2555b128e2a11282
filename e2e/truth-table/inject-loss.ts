import { randomUUID } from 'node:crypto';
import { giveAccessBack, isFinal, takeAccess } from '@interlock/lab/causes';
import { type Clock, systemClock } from '@interlock/runtime';
import { readKeyState } from '../cloud/key-state.ts';
import type { MadeKey } from '../cloud/make-estate.ts';
import { serviceOwner } from '../cloud/service-owner.ts';
import type { TableCause } from './causes.ts';
import type { Place } from './place.ts';

/** The key of one fleet, and the set that may use it. */
export type Keyed = MadeKey;

/** The owner of keys, sets and principals. */
export type Owner = Pick<Place, 'administrator' | 'identity' | 'keyVault' | 'sets' | 'disks'> & {
  /** The clock of the services; default: that of the system. */
  readonly clock?: Clock;
};

/** The effect on a key. */
export interface InjectedLoss {
  /** When it takes effect, in milliseconds since the epoch; undefined: at once. */
  readonly effectMs?: number;
  /** Restores access. */
  undo(): Promise<unknown>;
}

/** Nothing restores the data under a purged key. Another key serves new disks only. */
const assignNewKey = async ({ keyVault, sets }: Owner, { vault, set }: Keyed): Promise<void> => {
  const { keyUrl } = await keyVault.createKey({ parent: vault, keyId: 'k2', requestId: randomUUID() });
  await sets.assignKey({ name: set, keyUrl });
};

/**
 * Takes the key away, by the calls of its owner.
 * @param stopped called between two calls, to wait for the effect of the first
 */
export const injectLoss = async (
  clients: Owner,
  keyed: Keyed,
  { played }: TableCause,
  stopped: () => Promise<void>,
): Promise<InjectedLoss> => {
  const { clock = systemClock } = clients;
  const ownerToken = () => Promise.reject(new Error('no cause assigns a key'));
  const state = await readKeyState(clients, keyed);
  const owner = serviceOwner({ clients, now: clock.now, ownerToken }, state, [randomUUID()]);
  const [first] = await takeAccess(played, owner, stopped);
  const { effectMs } = first ?? {};
  if (effectMs !== undefined) await clock.sleep(effectMs - clock.now());
  return {
    ...(effectMs === undefined ? {} : { effectMs }),
    undo: () => (isFinal(played.cause) ? assignNewKey(clients, keyed) : giveAccessBack(played.cause, owner)),
  };
};

/** Takes the key away, also by what no owner decides. */
export const injectLossAt = async (
  place: Place,
  keyed: Keyed,
  cause: TableCause,
  stopped: () => Promise<void>,
): Promise<InjectedLoss> => {
  const { cloud, limitVaults, keyVault } = place;
  if (cause.name === 'vault-unreachable') {
    await cloud.stop('key-vault');
    return { undo: () => cloud.start('key-vault') };
  }
  if (cause.name === 'throttle') {
    // Less than one use during the whole test, and that one is used here.
    await limitVaults({ perSecond: 0.001, burst: 1 });
    await keyVault.wrapKey({ name: keyed.keyVersion, plaintextKey: new Uint8Array(32), algorithm: 'RSA_OAEP_256' });
    return { undo: () => limitVaults(undefined) };
  }
  return injectLoss(place, keyed, cause, stopped);
};
