import { type Category, type Cause, type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Instant, Logger, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Holding } from '../hold/holding.ts';
import { doDue as doDueOfKey, publishDates } from '../key/decider.ts';
import type { KeyEvent } from '../key/events.ts';
import { expiredTimers, type Key, dueTime as keyDueTime, rotationDue } from '../key/key.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import type { Sealing } from '../sealing/sealing.ts';
import { doDue as doDueOfVault } from '../vault/decider.ts';
import type { VaultEvent } from '../vault/events.ts';
import type { VaultPurge } from '../vault/purge.ts';
import { type Vault, dueTime as vaultDueTime } from '../vault/vault.ts';
import { type DueSource, watchDueTimes } from './due-times.ts';
import { evictUnusable } from './eviction.ts';

/** How long work waits when the store is unavailable or key-vault is on hold, in milliseconds. */
const restartMs = 1_000;
/** How long the replica that purged a key has to destroy its private keys before every replica does it, in milliseconds. */
const finishMs = 2_000;

interface BackgroundParts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly keys: Category<Key, KeyEvent>;
  readonly engine: RsaEngine;
  readonly material: KeyMaterial;
  readonly sealing: Sealing;
  readonly purgeVault: VaultPurge;
  readonly writeCounts: (signal: AbortSignal) => Promise<void>;
  readonly holding: Holding;
  /** Rotates a key by its policy. @returns false while its vault is not in use */
  readonly rotateDue: (key: string, cause: Cause) => Promise<boolean>;
}

type Work = (signal: AbortSignal) => Promise<void>;

/** The background work of key-vault: due dates, rotations and purges, eviction of keys, counted refusals, hold, sweep, resealing. */
export const backgroundWork = (parts: BackgroundParts): readonly Work[] => {
  const { clock, random, log, material, sealing, holding } = parts;
  const newCause = (): Cause => {
    const id = random.uuid();
    return { correlationId: id, causes: [], caller: 'system:key-vault' };
  };
  /**
   * On hold nothing happens by the clock: a store that went back does not know later recoveries and changes of dates, and a
   * purge is final (decision 0012).
   */
  const mayAct = async (): Promise<boolean> => {
    await holding.head();
    return holding.current() === undefined;
  };
  const watchDue = (sources: readonly DueSource[]) =>
    persistent(parts, (signal) => watchDueTimes({ ...parts, sources, newCause, mayAct }, signal));
  return [
    // Separately, because a purge waits for the store of seal keys, and a date must be published on time.
    watchDue([dateSource(parts)]),
    watchDue(purgeSources(parts)),
    watchDue([rotationSource(parts)]),
    persistent(parts, evictUnusable(parts)),
    persistent(parts, parts.writeCounts),
    (signal) => holding.watch(signal),
    persistent(parts, async (signal) => {
      while (!(await mayAct()) && !signal.aborted) await clock.sleep(restartMs, signal);
      if (!signal.aborted) await material.sweep(newCause());
    }),
    // Moves seal keys that are still under a previous master key.
    async () => {
      const { failedCount, failure } = await sealing.resealAll();
      if (failure) log.error('seal keys are not under the current master key', { failedCount, ...failure });
    },
  ];
};

/** Restarts work while the store is unavailable. */
const persistent =
  ({ clock, log }: BackgroundParts, work: (signal: AbortSignal) => Promise<unknown>): Work =>
  async (signal) => {
    while (!signal.aborted) {
      try {
        await work(signal);
        return;
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        log.warn('background work waits for the store', { error });
        await clock.sleep(restartMs, signal);
      }
    }
  };

const dateSource = ({ clock, keys }: BackgroundParts): DueSource =>
  dueSource(keys, datesDue, async (id, cause) => {
    await keys.transact(id, publishDates(clock.now()), cause, { timer: expiredTimers });
  });

const purgeSources = ({ clock, keys, vaults, material, purgeVault }: BackgroundParts): readonly DueSource[] => [
  {
    ...dueSource(keys, purgeDue, async (id, cause) => {
      const { state } = await keys.transact(id, doDueOfKey(clock.now()), cause, { timer: expiredTimers });
      // Also for a key purged before: an attempt that failed may have left private keys.
      if (state.status === 'purged') await material.destroyPurged(id, cause);
    }),
    async dueAt(id) {
      const { state } = await keys.load(id);
      if (state.status !== 'purged') return purgeDue(state);
      return (await material.isPurgeOwed(id)) ? state.purgedAt + finishMs : undefined;
    },
  },
  dueSource(vaults, vaultDueTime, async (id, cause) => {
    await vaults.transact(id, doDueOfVault(clock.now()), cause, { timer: 'purge' });
    await purgeVault(id);
  }),
];

/** How long the rotation of a key waits whose vault is not in use, in milliseconds. */
const vaultPauseMs = 60_000;

/** Rotations by policy. */
const rotationSource = ({ clock, keys, vaults, rotateDue }: BackgroundParts): DueSource => ({
  ...dueSource(keys, rotationDue, async (id, cause) => {
    await rotateDue(id, cause);
  }),
  async dueAt(id) {
    const dueAt = rotationDue((await keys.load(id)).state);
    if (dueAt === undefined || dueAt > clock.now()) return dueAt;
    const { state } = await vaults.load(id.split('/')[1] ?? '');
    return state.status === 'active' ? dueAt : clock.now() + vaultPauseMs;
  },
});

/** When a date of a key must be published. */
const datesDue = (key: Key): Instant | undefined => (key.status === 'active' ? keyDueTime(key) : undefined);
/** When a key must be purged. */
const purgeDue = (key: Key): Instant | undefined => (key.status === 'active' ? undefined : keyDueTime(key));

const dueSource = <State, Event extends { readonly type: string }>(
  streams: Category<State, Event>,
  dueTime: (state: State) => Instant | undefined,
  act: DueSource['act'],
): DueSource => ({
  streamPrefix: `${streams.definition.name}-`,
  act,
  async all() {
    const pending = await streams.listAll({ index: { index: 'due', value: 'pending' } });
    return pending.flatMap(({ id, state }) => {
      const dueAt = dueTime(state);
      return dueAt === undefined ? [] : [{ id, dueAt }];
    });
  },
  dueAt: async (id) => dueTime((await streams.load(id)).state),
});
