import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type CursorMove, type EventStore, type RowChange } from '@interlock/event-store';
import { type Clock, failureLog, type Logger, type Random } from '@interlock/runtime';
import { backoffMs } from './backoff.ts';
import { causeOf, type Effect, type Handlers, messageOf, NO_EFFECT, reasonOf, verdictOn } from './handlers.ts';
import { encodeFact, PARKED_BEHIND, type ParkedFacts, type ParkedRow, parkedFacts } from './parked.ts';

/** Conflicts that are decided again at once. After more the handler is faulty, and they count as failures. */
export const CONFLICTS_MAX = 20;

/** Most facts decided concurrently: enough for a transaction to carry many, few enough for handlers with much work. */
export const CONCURRENT_MAX = 16;

/** What applying the facts of one partition needs. */
export interface FactApplierOptions {
  /** The consuming service. */
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

/** Name of the cursor of a consumer on one partition. */
export const cursorOf = (source: string, partition: number): string => `consumer:${source}:${partition}`;

/**
 * Applies the facts of one partition of one source, in the order of their streams and each exactly once: the cursor
 * `consumer:<source>:<partition>` moves in the commit of the effect, so a fact at or below it has taken effect.
 *
 * Consecutive facts of different streams are decided concurrently. Their commits start together, and each moves the cursor from
 * where the one before leaves it, so the store combines them into few transactions. If one fails, it and the later ones are decided
 * again one by one:
 *
 *   fact ──handler──▶ effect ──commit with cursor──▶ done
 *     ▲                  │
 *     ├── conflict: read the cursor, decide again
 *     ├── temporary failure: wait and retry until it ends
 *     └── definite failure: park the fact, in one commit with the cursor; later facts of its stream are parked behind it
 */
export class FactApplier {
  readonly #options: FactApplierOptions;
  readonly #cursor: string;
  readonly #parked: ParkedFacts;
  #stored = 0;
  #reached = 0;
  /** Undefined when it must be read (again). */
  #parkedStreams: Set<string> | undefined;

  constructor(options: FactApplierOptions) {
    this.#options = options;
    this.#cursor = cursorOf(options.source, options.partition);
    this.#parked = parkedFacts(options.store);
  }

  /** Everything up to here is applied, parked or irrelevant. Ahead of the stored cursor by facts without effect. */
  get reached(): number {
    return this.#reached;
  }

  /** Applies facts, oldest first, and skips those at or below `reached`. Returns early when stopped. */
  async apply(facts: readonly Fact[]): Promise<void> {
    const { signal } = this.#options;
    for (const run of runsOf(facts)) {
      if (signal.aborted) return;
      if (run.length > 1) await this.#applyTogether(run.filter(({ position }) => position > this.#reached));
      for (const fact of run) {
        if (signal.aborted) return;
        if (fact.position > this.#reached) await this.#applyOne(fact);
      }
    }
  }

  /** Notes that no fact lies between `reached` and the position. */
  advance(position: number): void {
    this.#reached = Math.max(this.#reached, position);
  }

  /** Stores `reached` as the cursor, if it is ahead. */
  async save(): Promise<void> {
    if (this.#reached <= this.#stored) return;
    const { service, store, random } = this.#options;
    const id = random.uuid();
    const cause = { correlationId: id, causes: [], caller: `system:${service}` };
    try {
      await store.commit({ cursors: [{ name: this.#cursor, from: this.#stored, to: this.#reached }] }, cause);
      this.#stored = this.#reached;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      this.#parkedStreams = undefined;
      await this.refresh();
    }
  }

  /** Reads the stored cursor: another replica may have moved it. */
  async refresh(): Promise<void> {
    const { source, partition, store } = this.#options;
    const found = await store.cursor(this.#cursor);
    // The replica that moved it may have parked facts.
    if (found !== this.#stored) this.#parkedStreams = undefined;
    this.#stored = found;
    this.#reached = Math.max(this.#reached, found);
    this.#parkedStreams ??= (await this.#parked.ofPartition(source, partition)).streams;
  }

  /** Applies facts of different streams up to the first failure, which is reported when that fact is applied alone. */
  async #applyTogether(facts: readonly Fact[]): Promise<void> {
    const parkedStreams = this.#parkedStreams;
    if (!parkedStreams || facts.some(({ stream }) => parkedStreams.has(stream))) return;
    const decisions = await Promise.allSettled(facts.map((fact) => this.#decide(fact)));
    if (this.#options.signal.aborted) return;
    let from = this.#stored;
    const storing: { readonly fact: Fact; readonly done: Promise<number> }[] = [];
    for (const [n, fact] of facts.entries()) {
      const decision = decisions[n];
      if (decision?.status !== 'fulfilled') break;
      storing.push({ fact, done: this.#storeEffect(fact, decision.value, from) });
      if (hasEffect(decision.value)) from = fact.position;
    }
    await Promise.allSettled(storing.map(({ done }) => done));
    try {
      for (const { fact, done } of storing) {
        this.#stored = await done;
        this.#reached = fact.position;
      }
    } catch {
      // It may be stored nevertheless, or another replica was faster: the cursor is read before the fact is tried again.
      this.#parkedStreams = undefined;
    }
  }

  /** Repeats a fact until it is applied or parked, or the consumer stops. */
  async #applyOne(fact: Fact): Promise<void> {
    const { source, partition, clock, random, log, maxAttempts, signal } = this.#options;
    const failing = failureLog({ log, clock, failing: 'fact is tried again', back: 'fact is applied' });
    let attempts = 0;
    let conflicts = 0;
    let isStale = this.#parkedStreams === undefined;
    let definite: { readonly error: unknown } | undefined;
    while (!signal.aborted) {
      try {
        if (isStale) await this.refresh();
        isStale = false;
        if (fact.position <= this.#reached) return;
        if (definite) await this.#parkFailed(fact, definite.error, attempts);
        else await this.#attempt(fact);
        if (!definite) failing.succeeded();
        return;
      } catch (error) {
        // The commit may have been stored nevertheless, or another replica was faster.
        isStale = true;
        if (error instanceof CursorConflict) this.#parkedStreams = undefined;
        const verdict = verdictOn(error);
        conflicts += verdict === 'conflict' ? 1 : 0;
        if (signal.aborted || (verdict === 'conflict' && conflicts <= CONFLICTS_MAX)) continue;
        attempts += definite ? 0 : 1;
        const isDefinite = verdict === 'definite' || (verdict !== 'temporary' && attempts >= maxAttempts);
        if (isDefinite && !definite) definite = { error };
        else await clock.sleep(backoffMs(attempts, random), signal);
        if (!definite) failing.failed(error, { source, partition, position: fact.position });
      }
    }
  }

  async #attempt(fact: Fact): Promise<void> {
    if (await this.#parkBehind(fact)) return;
    this.#stored = await this.#storeEffect(fact, await this.#decide(fact), this.#stored);
    this.#reached = fact.position;
  }

  async #decide(fact: Fact): Promise<Effect> {
    const { service, handlers, signal } = this.#options;
    return (await handlers[fact.type]?.(fact, { cause: causeOf(fact, service), signal })) ?? NO_EFFECT;
  }

  /** Stores an effect, if there is one. @param from value of the cursor before @returns its value afterwards */
  async #storeEffect(fact: Fact, effect: Effect, from: number): Promise<number> {
    if (!hasEffect(effect)) return from;
    const { service, store } = this.#options;
    const move: CursorMove = { name: this.#cursor, from, to: fact.position };
    await store.commit({ ...effect, cursors: [move] }, causeOf(fact, service));
    return fact.position;
  }

  async #parkFailed(fact: Fact, error: unknown, attempts: number): Promise<void> {
    const { source, partition, log } = this.#options;
    const guard = await this.#parked.guard(source, partition);
    const row = this.#parkedRow(fact, { error: messageOf(error), reason: reasonOf(error), attempts });
    await this.#park(fact, this.#parked.put(row, undefined), guard);
    log.error('fact parked', { error, source, partition, position: fact.position, stream: fact.stream, attempts });
  }

  /** Parks the fact if an earlier one of its stream is parked. @returns whether it did */
  async #parkBehind(fact: Fact): Promise<boolean> {
    const { source, partition } = this.#options;
    if (!this.#parkedStreams?.has(fact.stream)) return false;
    const guard = await this.#parked.guard(source, partition);
    if (!(await this.#parked.firstOf(source, fact.stream))) {
      this.#parkedStreams.delete(fact.stream);
      return false;
    }
    const row = this.#parkedRow(fact, { error: '', reason: PARKED_BEHIND, attempts: 0 });
    await this.#park(fact, this.#parked.put(row, undefined), guard);
    return true;
  }

  #parkedRow(fact: Fact, why: Pick<ParkedRow, 'error' | 'reason' | 'attempts'>): ParkedRow {
    const { source, partition, clock } = this.#options;
    const { position, stream } = fact;
    return { source, partition, position, stream, fact: encodeFact(fact), time: clock.now(), ...why };
  }

  async #park(fact: Fact, change: RowChange, guard: CursorMove): Promise<void> {
    const { service, store } = this.#options;
    const move: CursorMove = { name: this.#cursor, from: this.#stored, to: fact.position };
    await store.commit({ rows: [change], cursors: [move, guard] }, causeOf(fact, service));
    this.#stored = fact.position;
    this.#reached = fact.position;
    this.#parkedStreams?.add(fact.stream);
  }
}

const hasEffect = ({ appends = [], rows = [] }: Effect): boolean => appends.length + rows.length > 0;

/** Cuts facts into runs without two of the same stream. */
function* runsOf(facts: readonly Fact[]): Generator<readonly Fact[]> {
  let run: Fact[] = [];
  const streams = new Set<string>();
  for (const fact of facts) {
    if (run.length === CONCURRENT_MAX || streams.has(fact.stream)) {
      yield run;
      run = [];
      streams.clear();
    }
    run.push(fact);
    streams.add(fact.stream);
  }
  if (run.length > 0) yield run;
}
