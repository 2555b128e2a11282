import { type Cause, type IndexEntry, Rejection } from '@interlock/event-store';
import { contextFromTraceparent, DomainAttribute, inSpan, type Logger, type Random } from '@interlock/runtime';
import { SpanKind, type Tracer } from '@opentelemetry/api';
import { checkAccess } from '../key/access-check.ts';
import { type RotationSettings, rotate } from '../rotation/rotation.ts';
import { followingIndex, pendingIndex } from '../set/streams.ts';
import type { SetParts } from '../sets.ts';
import { finishCreation } from './creation.ts';
import { finishDeletion } from './deletion.ts';
import { follow } from './following.ts';
import { settleIdentity } from './identity-change.ts';
import { isOutage } from './outages.ts';
import { type WorkQueue, workQueue } from './work-queue.ts';

/** Sets settled at once: one call to another service each. */
const settledAtOnce = 32;
/** Sets whose disks move at once: each is many calls. */
const rotatedAtOnce = 4;
/** Sets whose newest version is looked for at once. */
const followedAtOnce = 8;
/** Sets a look of a watchdog takes in hand at once, and the most it lets wait; it goes on behind them a little later. */
const watchedAtOnce = 1_000;

/** How often what stands still is looked for. */
export interface UpkeepSettings {
  /** Milliseconds between looks at what nobody needs to be waited for. */
  readonly watchdogMs: number;
  /** Milliseconds between tries of what waits for a key. */
  readonly rotationRetryMs: number;
  /** Milliseconds between looks for a newer version of the keys that are followed (CMK-81). */
  readonly rotationCheckIntervalMs: number;
  readonly rotation: RotationSettings;
}

/** The work that goes on behind requests and facts. */
export interface Upkeep {
  /** Does soon what a set has left to do: finish its creation or deletion, ask about its keys, move its disks. */
  attend(set: string, cause: Cause): void;
  /** Takes up what stands still, after a crash or an outage; returns when `signal` is aborted. */
  readonly watchdogs: readonly ((signal: AbortSignal) => Promise<void>)[];
  /** Resolves once nothing is in hand. */
  idle(): Promise<void>;
}

/**
 * Makes the upkeep of sets. What is left to do is read from the stored state of a set, never remembered here, so a
 * replica that stops loses nothing and two replicas do at worst the same twice.
 */
export const upkeep = (
  parts: SetParts & {
    readonly random: Random;
    readonly log: Logger;
    readonly tracer: Tracer;
    readonly settings: UpkeepSettings;
    readonly signal: AbortSignal;
  },
): Upkeep => {
  const { clock, sets, random, log, tracer, settings, signal } = parts;

  const traced = (name: string, set: string, cause: Cause, work: () => Promise<void>): Promise<void> => {
    const parent = contextFromTraceparent(cause.traceparent);
    const attributes = { [DomainAttribute.diskEncryptionSet]: set };
    return inSpan(tracer, name, { kind: SpanKind.INTERNAL, parent, attributes }, work);
  };
  const report = (set: string, error: unknown): void => {
    const isAwaited = isOutage(error) || error instanceof Rejection;
    if (signal.aborted) log.info('work on a set was interrupted', { set, error });
    else if (isAwaited) log.warn('work on a set is taken up again later', { set, error });
    else log.error('work on a set failed and is taken up again later', { set, error });
  };

  const rotations: WorkQueue = workQueue({
    limit: rotatedAtOnce,
    signal,
    report,
    run: (set, cause) =>
      traced('rotate set', set, cause, () => rotate({ ...parts, settings: settings.rotation, signal }, set, cause)),
  });
  const settling: WorkQueue = workQueue({
    limit: settledAtOnce,
    signal,
    report,
    run: (set, cause) =>
      traced('settle set', set, cause, async () => {
        const { state } = await sets.load(set);
        if (state.status === 'creating') await finishCreation(parts, set, cause);
        if (state.status === 'deleting' || state.status === 'released') await finishDeletion(parts, set, cause);
        const isRestored = await checkAccess(parts, set, cause);
        const { state: settled } = await sets.load(set);
        if (settled.status !== 'active') return;
        if (settled.rotation?.progress.status === 'waiting' && isRestored) rotations.add(set, cause);
        const { due, error } = settled.following;
        if (due !== null || error !== null) following.add(set, cause);
      }),
  });
  // Apart from what is asked of disks: an identity that was taken away must not live on behind a host that gives no answer (G1).
  const identities: WorkQueue = workQueue({
    limit: settledAtOnce,
    signal,
    report,
    run: (set, cause) =>
      traced('settle identity', set, cause, async () => {
        if (await settleIdentity(parts, set, cause)) attend(set, cause);
      }),
  });
  const following: WorkQueue = workQueue({
    limit: followedAtOnce,
    signal,
    report,
    run: (set, cause) =>
      traced('follow key', set, cause, async () => {
        if (await follow(parts, set, cause)) attend(set, cause);
      }),
  });

  /**
   * A look at one kind of sets every so often, at once first: what a crash left behind waits for nobody. It takes so many in
   * hand and goes on behind them a little later, until it has seen all: no set is passed over for those before it, and none
   * waits longer for being one of many.
   */
  const watchdog =
    (index: IndexEntry, everyMs: number, queue: WorkQueue, take: (set: string, cause: Cause) => void) =>
    async (stopping: AbortSignal): Promise<void> => {
      let after: string | undefined;
      while (!stopping.aborted && !signal.aborted) {
        let isOver = false;
        try {
          if (queue.waiting() < watchedAtOnce) {
            const from = after === undefined ? {} : { after };
            const { items, next } = await sets.list({ index, ...from, limit: watchedAtOnce });
            for (const { id } of items) take(id, ownCause(random));
            after = next;
            isOver = next === undefined;
          }
        } catch (error) {
          // The store is away: everything it holds is still there at the next look.
          log.warn('the watchdog could not look', { error });
        }
        await clock.sleep(isOver ? everyMs : Math.min(everyMs, settings.watchdogMs), stopping);
      }
    };
  const attend = (set: string, cause: Cause): void => {
    identities.add(set, cause);
    settling.add(set, cause);
    rotations.add(set, cause);
  };

  return {
    attend,
    watchdogs: [
      watchdog(pendingIndex('soon'), settings.watchdogMs, settling, attend),
      watchdog(pendingIndex('later'), settings.rotationRetryMs, settling, attend),
      watchdog(followingIndex, settings.rotationCheckIntervalMs, following, following.add),
    ],
    async idle() {
      await identities.idle();
      await settling.idle();
      await following.idle();
      await settling.idle();
      await rotations.idle();
    },
  };
};

const ownCause = (random: Random): Cause => {
  const id = random.uuid();
  return { correlationId: id, causationId: id, caller: 'system:disk-encryption-set' };
};
