import { type Category, type Cause, type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Instant, Logger, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Holding } from '../hold/holding.ts';
import { doDue as doDueOfKey, publishDates } from '../key/decider.ts';
import type { KeyEvent } from '../key/events.ts';
import { type Key, dueTime as keyDueTime } from '../key/key.ts';
import type { RsaEngine } from '../rsa/rsa.ts';
import type { KeyMaterial } from '../sealing/key-material.ts';
import type { Sealing } from '../sealing/sealing.ts';
import { doDue as doDueOfVault } from '../vault/decider.ts';
import type { VaultEvent } from '../vault/events.ts';
import type { VaultPurge } from '../vault/purge.ts';
import { type Vault, dueTime as vaultDueTime } from '../vault/vault.ts';
import { type DueSource, watchDueTimes } from './due-times.ts';
import { evictUnusable } from './eviction.ts';

/** How long a process whose store was away, or is on hold, waits before it begins anew. */
const restartMs = 1_000;
/** How long whoever purged a key has for its private keys before every replica does what is left of that. */
const finishMs = 2_000;

/** What key-vault does by itself: tells expiries, purges on time, forgets keys that may not be used, finishes purges, writes counted refusals, sees whether its store went back. */
export const backgroundWork = (parts: {
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
}): readonly ((signal: AbortSignal) => Promise<void>)[] => {
  const { clock, random, log, vaults, keys, material, sealing, purgeVault, holding } = parts;
  const newCause = (): Cause => {
    const id = random.uuid();
    return { correlationId: id, causationId: id, caller: 'system:key-vault' };
  };
  const dates: DueSource = dueSource(keys, datesDue, async (id, cause) => {
    await keys.transact(id, publishDates(clock.now()), cause);
  });
  const purges: readonly DueSource[] = [
    {
      ...dueSource(keys, purgeDue, async (id, cause) => {
        const { state } = await keys.transact(id, doDueOfKey(clock.now()), cause);
        // Also of one that was purged before: an attempt that failed may have left that to do.
        if (state.status === 'purged') await material.destroyPurged(id, cause);
      }),
      async dueAt(id) {
        const { state } = await keys.load(id);
        if (state.status !== 'purged') return purgeDue(state);
        return (await material.isPurgeOwed(id)) ? state.purgedAt + finishMs : undefined;
      },
    },
    dueSource(vaults, vaultDueTime, async (id, cause) => {
      await vaults.transact(id, doDueOfVault(clock.now()), cause);
      await purgeVault(id);
    }),
  ];

  /**
   * On hold nothing is done by the clock: a store that went back knows nothing of what was recovered, or put off, after that
   * moment, and a purge is for good (decision 0012).
   */
  const mayAct = async (): Promise<boolean> => {
    await holding.head();
    return holding.current() === undefined;
  };

  const persistent = (work: (signal: AbortSignal) => Promise<unknown>) => async (signal: AbortSignal) => {
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
  const watched = (sources: readonly DueSource[]) =>
    persistent((signal) => watchDueTimes({ ...parts, sources, newCause, mayAct }, signal));
  return [
    // Apart from each other: a purge takes as long as the store of seal keys does, and an end has to be told when it comes.
    watched([dates]),
    watched(purges),
    persistent(evictUnusable(parts)),
    persistent(parts.writeCounts),
    holding.watch,
    persistent(async (signal) => {
      while (!(await mayAct()) && !signal.aborted) await clock.sleep(restartMs, signal);
      if (!signal.aborted) await material.sweep(newCause());
    }),
    // Moves seal keys that are still under a previous master key; without one it finds nothing to do.
    async () => {
      const { failedCount, failure } = await sealing.resealAll();
      // Who needs one of those is told so by itself; all others go on.
      if (failure) log.error('seal keys are not under the current master key', { failedCount, ...failure });
    },
  ];
};

/** When a date of a key comes that is to be told. */
const datesDue = (key: Key): Instant | undefined => (key.status === 'active' ? keyDueTime(key) : undefined);
/** When a key is to be purged. */
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
