import { type Cause, Rejection } from '@interlock/event-store';
import { contextFromTraceparent, DomainAttribute, inSpan, type Logger, type Random } from '@interlock/runtime';
import { SpanKind, type Tracer } from '@opentelemetry/api';
import { checkAccess } from './access-check.ts';
import { finishCreation } from './creation.ts';
import { finishDeletion } from './deletion.ts';
import { isOutage } from './outages.ts';
import { type RotationSettings, rotate } from './rotation.ts';
import { pendingIndex } from './set/state.ts';
import type { SetParts } from './sets.ts';
import { type WorkQueue, workQueue } from './work-queue.ts';

/** Sets settled at once: one call to another service each. */
const settledAtOnce = 32;
/** Sets whose disks move at once: each is many calls. */
const rotatedAtOnce = 4;
/** Sets one look of the watchdog takes in hand: the rest is still there at the next. */
const watchedAtOnce = 1_000;

/** How often what stands still is looked for. */
export interface UpkeepSettings {
  /** Milliseconds between looks at what nobody needs to be waited for. */
  readonly watchdogMs: number;
  /** Milliseconds between tries of what waits for a key. */
  readonly rotationRetryMs: number;
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
        if (settled.status === 'active' && settled.rotation?.progress.status === 'waiting' && isRestored) {
          rotations.add(set, cause);
        }
      }),
  });

  /** A look at one kind of unfinished sets every so often, at once first: what a crash left behind waits for nobody. */
  const watchdog =
    (when: 'soon' | 'later', everyMs: number) =>
    async (stopping: AbortSignal): Promise<void> => {
      while (!stopping.aborted && !signal.aborted) {
        try {
          const { items } = await sets.list({ index: pendingIndex(when), limit: watchedAtOnce });
          for (const { id } of items) attend(id, ownCause(random));
        } catch (error) {
          // The store is away: everything it holds is still there at the next look.
          log.warn('the watchdog could not look', { error });
        }
        await clock.sleep(everyMs, stopping);
      }
    };
  const attend = (set: string, cause: Cause): void => {
    settling.add(set, cause);
    rotations.add(set, cause);
  };

  return {
    attend,
    watchdogs: [watchdog('soon', settings.watchdogMs), watchdog('later', settings.rotationRetryMs)],
    async idle() {
      await settling.idle();
      await rotations.idle();
    },
  };
};

const ownCause = (random: Random): Cause => {
  const id = random.uuid();
  return { correlationId: id, causationId: id, caller: 'system:disk-encryption-set' };
};
