import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type EventStore, type RowChange } from '@interlock/event-store';
import { type Clock, failureLog, type Logger, type Random } from '@interlock/runtime';
import { backoffMs } from './backoff.ts';
import { causeOf, type Effect, type Handlers, messageOf, NO_EFFECT, reasonOf, verdictOn } from './handlers.ts';
import { encodeFact, PARKED_BEHIND, type ParkedRow, parkedFacts } from './parked.ts';

/** Conflicts decided again at once; after so many something is wrong with the handler, and they count as failures. */
const CONFLICTS_MAX = 20;

/** Most facts decided beside each other: enough for a transaction to carry many, few enough for handlers with much work. */
export const TOGETHER_MAX = 16;

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
 * Applies the facts of one partition of one source, in the order of their streams and each exactly once: the cursor
 * `consumer:<source>:<partition>` moves in the commit of the effect, so a fact at or below it has taken effect.
 *
 * Facts of different streams that follow each other are decided beside each other, and their commits asked for at once, each
 * moving the cursor on from the one before: the store takes them in few transactions. Where one fails, it and those behind
 * it are decided again one by one:
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
    const found = await store.cursor(name);
    // Whoever has come further than this lane knows may have parked something on the way.
    if (found !== stored) parkedStreams = undefined;
    stored = found;
    reached = Math.max(reached, stored);
    parkedStreams ??= (await parked.ofPartition(source, partition)).streams;
  };

  /** Stores an effect, if there is one. @param from where the cursor is by then @returns where it is afterwards */
  const storeEffect = async (fact: Fact, effect: Effect, from: number): Promise<number> => {
    if (!hasEffect(effect)) return from;
    await store.commit({ ...effect, cursors: [{ name, from, to: fact.position }] }, causeOf(fact, service));
    return fact.position;
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

  const decide = async (fact: Fact): Promise<Effect> =>
    (await handlers[fact.type]?.(fact, { cause: causeOf(fact, service), signal })) ?? NO_EFFECT;

  const attempt = async (fact: Fact): Promise<void> => {
    if (await parkBehind(fact)) return;
    stored = await storeEffect(fact, await decide(fact), stored);
    reached = fact.position;
  };

  /** Applies facts of different streams up to the first that fails, if any; its failure shows when it is applied by itself. */
  const applyTogether = async (facts: readonly Fact[]): Promise<void> => {
    if (!parkedStreams || facts.some(({ stream }) => parkedStreams?.has(stream))) return;
    const decisions = await Promise.allSettled(facts.map(decide));
    if (signal.aborted) return;
    let from = stored;
    const storing: { readonly fact: Fact; readonly done: Promise<number> }[] = [];
    for (const [n, fact] of facts.entries()) {
      const decision = decisions[n];
      if (decision?.status !== 'fulfilled') break;
      storing.push({ fact, done: storeEffect(fact, decision.value, from) });
      if (hasEffect(decision.value)) from = fact.position;
    }
    await Promise.allSettled(storing.map(({ done }) => done));
    try {
      for (const { fact, done } of storing) {
        stored = await done;
        reached = fact.position;
      }
    } catch {
      // It may be stored all the same, or somebody else was faster: what is stored is read before the fact is tried again.
      parkedStreams = undefined;
    }
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
      for (const run of runsOf(facts)) {
        // Whoever stops gives up what is missing before these, and their handlers may do work of their own.
        if (signal.aborted) return;
        if (run.length > 1) await applyTogether(run.filter(({ position }) => position > reached));
        for (const fact of run) {
          if (signal.aborted) return;
          if (fact.position > reached) await applyOne(fact);
        }
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

const hasEffect = ({ appends = [], rows = [] }: Effect): boolean => appends.length + rows.length > 0;

/** Cuts facts into runs without two of one stream. */
function* runsOf(facts: readonly Fact[]): Generator<readonly Fact[]> {
  let run: Fact[] = [];
  const streams = new Set<string>();
  for (const fact of facts) {
    if (run.length === TOGETHER_MAX || streams.has(fact.stream)) {
      yield run;
      run = [];
      streams.clear();
    }
    run.push(fact);
    streams.add(fact.stream);
  }
  if (run.length > 0) yield run;
}
