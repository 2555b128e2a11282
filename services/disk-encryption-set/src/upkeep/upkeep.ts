import { type Cause, type IndexEntry, Rejection } from '@interlock/event-store';
import { contextOfWork, DomainAttribute, inSpan, type Logger, type Random } from '@interlock/runtime';
import { SpanKind, type Tracer } from '@opentelemetry/api';
import { checkAccess } from '../key/access-check.ts';
import { type RotationSettings, rotate } from '../rotation/rotation.ts';
import { followingIndex, pendingIndex } from '../set/streams.ts';
import type { SetParts } from '../sets.ts';
import { finishCreation } from './creation.ts';
import { finishDeletion } from './deletion.ts';
import { follow } from './following.ts';
import { reconcileIdentity } from './identity-change.ts';
import { isOutage } from './outages.ts';
import { type WorkQueue, workQueue } from './work-queue.ts';

/** Sets in work at once, by kind of work: a reconciliation is one call to another service, a rotation many. */
const concurrency = { reconcile: 32, rotate: 4, follow: 8 } as const;
/** Sets of one page of a watchdog, and the most that may wait in its queue before it adds more. */
const pageSize = 1_000;

/** Intervals of the watchdogs, in milliseconds. */
export interface UpkeepSettings {
  /** For work that waits for nothing. */
  readonly watchdogMs: number;
  /** For work that waits for a key. */
  readonly rotationRetryMs: number;
  /** For newer versions of the keys that sets follow (CMK-81). */
  readonly rotationCheckIntervalMs: number;
  readonly rotation: RotationSettings;
}

type Parts = SetParts & {
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly settings: UpkeepSettings;
  readonly signal: AbortSignal;
};

/**
 * The work of sets outside of requests and facts. The stored state of a set is the only record of what remains: a replica
 * that stops loses nothing, and two replicas at worst do the same work twice.
 */
export class Upkeep {
  readonly #parts: Parts;
  /** Separate from the rest: a disk host that does not respond must not keep a removed identity alive (G1). */
  readonly #identities: WorkQueue;
  readonly #reconciliations: WorkQueue;
  readonly #rotations: WorkQueue;
  readonly #follows: WorkQueue;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { settings, signal } = parts;
    this.#identities = this.#queue('reconcile identity', concurrency.reconcile, async (set, cause) => {
      if (await reconcileIdentity(parts, set, cause)) this.schedule(set, cause);
    });
    this.#reconciliations = this.#queue('reconcile set', concurrency.reconcile, (set, cause) =>
      this.#reconcile(set, cause),
    );
    this.#rotations = this.#queue('rotate set', concurrency.rotate, (set, cause) =>
      rotate({ ...parts, settings: settings.rotation, signal }, set, cause),
    );
    this.#follows = this.#queue('follow key', concurrency.follow, async (set, cause) => {
      if (await follow(parts, set, cause)) this.schedule(set, cause);
    });
  }

  /** Schedules what remains of a set: its creation or deletion, its questions, its identity, its rotation. */
  readonly schedule = (set: string, cause: Cause): void => {
    this.#identities.add(set, cause);
    this.#reconciliations.add(set, cause);
    this.#rotations.add(set, cause);
  };

  /** Loops that resume work after a crash or an outage; each returns when its signal is aborted. */
  watchdogs(): readonly ((signal: AbortSignal) => Promise<void>)[] {
    const { watchdogMs, rotationRetryMs, rotationCheckIntervalMs } = this.#parts.settings;
    const follow = this.#follows.add;
    return [
      (signal) => this.#watch(pendingIndex('soon'), watchdogMs, this.#reconciliations, this.schedule, signal),
      (signal) => this.#watch(pendingIndex('later'), rotationRetryMs, this.#reconciliations, this.schedule, signal),
      (signal) => this.#watch(followingIndex, rotationCheckIntervalMs, this.#follows, follow, signal),
    ];
  }

  /** Resolves when nothing is in work. */
  async idle(): Promise<void> {
    const queues = [this.#identities, this.#reconciliations, this.#follows, this.#reconciliations, this.#rotations];
    for (const queue of queues) await queue.idle();
  }

  #queue(name: string, limit: number, work: (set: string, cause: Cause) => Promise<void>): WorkQueue {
    const { tracer, signal } = this.#parts;
    return workQueue({
      limit,
      signal,
      report: (set, error) => this.#report(set, error),
      run: (set, cause) => {
        const parent = contextOfWork(cause);
        const attributes = { [DomainAttribute.diskEncryptionSet]: set };
        return inSpan(tracer, name, { kind: SpanKind.INTERNAL, parent, attributes }, () => work(set, cause));
      },
    });
  }

  async #reconcile(set: string, cause: Cause): Promise<void> {
    const { sets } = this.#parts;
    const { state } = await sets.load(set);
    if (state.status === 'creating') await finishCreation(this.#parts, set, cause);
    if (state.status === 'deleting' || state.status === 'released') await finishDeletion(this.#parts, set, cause);
    const isRestored = await checkAccess(this.#parts, set, cause);
    const { state: after } = await sets.load(set);
    if (after.status !== 'active') return;
    if (after.rotation?.progress.status === 'waiting' && isRestored) this.#rotations.add(set, cause);
    const { due, error } = after.following;
    if (due !== null || error !== null) this.#follows.add(set, cause);
  }

  #report(set: string, error: unknown): void {
    const { log, signal } = this.#parts;
    const isExpected = isOutage(error) || error instanceof Rejection;
    if (signal.aborted) log.info('work on a set was interrupted', { set, error });
    else if (isExpected) log.warn('work on a set will be retried', { set, error });
    else log.error('work on a set failed and will be retried', { set, error });
  }

  /**
   * Adds every set of an index, page by page, and starts again after `everyMs`; the first time at once. A page waits until the
   * queue has room, so a long list neither fills the memory nor delays its last sets until the next round.
   */
  async #watch(
    index: IndexEntry,
    everyMs: number,
    queue: WorkQueue,
    add: (set: string, cause: Cause) => void,
    stopping: AbortSignal,
  ): Promise<void> {
    const { clock, sets, random, log, settings, signal } = this.#parts;
    let after: string | undefined;
    while (!stopping.aborted && !signal.aborted) {
      let isEnd = false;
      try {
        if (queue.waiting() < pageSize) {
          const { items, next } = await sets.list({
            index,
            ...(after === undefined ? {} : { after }),
            limit: pageSize,
          });
          for (const { id } of items) add(id, newCause(random));
          after = next;
          isEnd = next === undefined;
        }
      } catch (error) {
        log.warn('a watchdog could not list sets and will try again', { error });
      }
      await clock.sleep(isEnd ? everyMs : Math.min(everyMs, settings.watchdogMs), stopping);
    }
  }
}

const newCause = (random: Random): Cause => {
  const id = random.uuid();
  return { correlationId: id, causes: [], caller: 'system:disk-encryption-set' };
};
