import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type EventStore, type RowChange } from '@interlock/event-store';
import { type Clock, failureLog, type Logger, type Random } from '@interlock/runtime';
import { backoffMs } from './backoff.ts';
import { causeOf, type Effect, type Handlers, messageOf, NO_EFFECT, reasonOf, verdictOn } from './handlers.ts';
import { encodeFact, PARKED_BEHIND, type ParkedRow, parkedFacts } from './parked.ts';

/** Conflicts decided again at once; after so many something is wrong with the handler, and they count as failures. */
const CONFLICTS_MAX = 20;

export interface LaneOptions {
  /** The service that consumes. */
  readonly service: string;
  readonly source: string;
  readonly partition: number;
  readonly handlers: Handlers;
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Attempts after which a fact with an unknown error is parked. */
  readonly maxAttempts: number;
  readonly signal: AbortSignal;
}

/**
 * Applies the facts of one partition of one source, in order and each exactly once: the cursor
 * `consumer:<source>:<partition>` moves in the commit of the effect, so a fact at or below it has taken effect.
 *
 *   fact ──handler──▶ effect ──commit with cursor──▶ done
 *     ▲                  │
 *     ├── conflict: read the cursor, decide again
 *     ├── passing failure: wait, for ever
 *     └── no retry can cure it: park the fact, in one commit with the cursor; later facts of its stream park behind it
 */
export interface Lane {
  /** Everything up to here is applied, parked or of no concern. Ahead of the stored cursor by facts without effect. */
  reached(): number;
  /** Applies facts, oldest first; those at or below `reached` are passed over. Returns early when stopped. */
  apply(facts: readonly Fact[]): Promise<void>;
  /** Notes that no fact lies between `reached` and the position. */
  advance(position: number): void;
  /** Stores how far the lane came, if that is not stored yet. */
  save(): Promise<void>;
  /** Reads the stored place: somebody else may be further. */
  refresh(): Promise<void>;
}

export const cursorOf = (source: string, partition: number): string => `consumer:${source}:${partition}`;

export const createLane = (options: LaneOptions): Lane => {
  const { service, source, partition, handlers, store, clock, random, log, maxAttempts, signal } = options;
  const name = cursorOf(source, partition);
  const parked = parkedFacts(store);
  let stored = 0;
  let reached = 0;
  /** Undefined when it has to be read (again). */
  let parkedStreams: Set<string> | undefined;

  const refresh = async (): Promise<void> => {
    stored = await store.cursor(name);
    reached = Math.max(reached, stored);
    parkedStreams ??= (await parked.ofPartition(source, partition)).streams;
  };

  const commitAt = async (fact: Fact, effect: Effect): Promise<void> => {
    const hasEffect = (effect.appends?.length ?? 0) + (effect.rows?.length ?? 0) > 0;
    if (hasEffect) {
      const cursors = [{ name, from: stored, to: fact.position }];
      await store.commit({ ...effect, cursors }, causeOf(fact, service));
      stored = fact.position;
    }
    reached = fact.position;
  };

  const parkedRow = (fact: Fact, why: Pick<ParkedRow, 'error' | 'reason' | 'attempts'>): ParkedRow => ({
    source,
    partition,
    position: fact.position,
    stream: fact.stream,
    fact: encodeFact(fact),
    time: clock.now(),
    ...why,
  });

  const park = async (fact: Fact, change: RowChange, guard: Awaited<ReturnType<typeof parked.guard>>) => {
    const cursors = [{ name, from: stored, to: fact.position }, guard];
    await store.commit({ rows: [change], cursors }, causeOf(fact, service));
    stored = fact.position;
    reached = fact.position;
    parkedStreams?.add(fact.stream);
  };

  const parkFailed = async (fact: Fact, error: unknown, attempts: number): Promise<void> => {
    const guard = await parked.guard(source, partition);
    const row = parkedRow(fact, { error: messageOf(error), reason: reasonOf(error), attempts });
    await park(fact, parked.put(row, undefined), guard);
    log.error('fact parked', { error, source, partition, position: fact.position, stream: fact.stream, attempts });
  };

  /** Parks the fact when an earlier one of its stream is parked. @returns whether it did */
  const parkBehind = async (fact: Fact): Promise<boolean> => {
    if (!parkedStreams?.has(fact.stream)) return false;
    const guard = await parked.guard(source, partition);
    if (!(await parked.firstOf(source, fact.stream))) {
      parkedStreams.delete(fact.stream);
      return false;
    }
    const row = parkedRow(fact, { error: '', reason: PARKED_BEHIND, attempts: 0 });
    await park(fact, parked.put(row, undefined), guard);
    return true;
  };

  const attempt = async (fact: Fact): Promise<void> => {
    if (await parkBehind(fact)) return;
    const handler = handlers[fact.type];
    const effect = handler ? await handler(fact, { cause: causeOf(fact, service), signal }) : NO_EFFECT;
    await commitAt(fact, effect);
  };

  const applyOne = async (fact: Fact): Promise<void> => {
    let attempts = 0;
    const failing = failureLog({ log, clock, failing: 'fact is tried again', back: 'fact is applied' });
    let conflicts = 0;
    let isStale = parkedStreams === undefined;
    let givenUp: { readonly error: unknown } | undefined;
    while (!signal.aborted) {
      try {
        if (isStale) await refresh();
        isStale = false;
        if (fact.position <= reached) return;
        if (givenUp) await parkFailed(fact, givenUp.error, attempts);
        else await attempt(fact);
        if (!givenUp) failing.succeeded();
        return;
      } catch (error) {
        // Whatever happened, the commit may have been stored, or somebody else may have been faster.
        isStale = true;
        if (error instanceof CursorConflict) parkedStreams = undefined;
        const verdict = verdictOn(error);
        conflicts += verdict === 'conflict' ? 1 : 0;
        if (signal.aborted || (verdict === 'conflict' && conflicts <= CONFLICTS_MAX)) continue;
        attempts += givenUp ? 0 : 1;
        const isHopeless = verdict === 'final' || (verdict !== 'passing' && attempts >= maxAttempts);
        if (isHopeless && !givenUp) givenUp = { error };
        else await clock.sleep(backoffMs(attempts, random), signal);
        if (!givenUp) failing.failed(error, { source, partition, position: fact.position });
      }
    }
  };

  return {
    reached: () => reached,
    async apply(facts) {
      for (const fact of facts) {
        if (signal.aborted) return;
        await applyOne(fact);
      }
    },
    advance(position) {
      reached = Math.max(reached, position);
    },
    async save() {
      if (reached <= stored) return;
      const id = random.uuid();
      const cause = { correlationId: id, causationId: id, caller: `system:${service}` };
      try {
        await store.commit({ cursors: [{ name, from: stored, to: reached }] }, cause);
        stored = reached;
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
        parkedStreams = undefined;
        await refresh();
      }
    },
    refresh,
  };
};
