import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Cause, EventStore } from '@interlock/event-store';
import { type Clock, contextOfWork, failureLog, type Logger } from '@interlock/runtime';
import { context } from '@opentelemetry/api';
import type { Bus, Tailed } from './bus.ts';
import { cursorOf } from './fact-applier.ts';
import { causeOf } from './handlers.ts';
import { assertPublishable, decodeBatch } from './received-batch.ts';
import { DEFAULT_PARTITION_COUNT, partitionOf, subjectOf } from './subjects.ts';

const SILENCE_MS = 5_000;
/** Most recalls in a silence time, when the bus loses much. */
const RECALLS_PER_SILENCE = 5;
/** A recall follows the last one within this many silence times, also when nothing seems to be missing. */
const SILENCES_MAX = 60;

/** Whether a fact had taken effect in the store of the service when a recall began. */
export type IsStored = (fact: Pick<Fact, 'stream' | 'position'>) => boolean;

/** What one process keeps in its memory of the facts of a source. */
export interface Following {
  /** The publishing service. */
  readonly source: string;
  /** Applies a fact to memory. A fact may arrive more than once, late, and behind a later fact of its stream. */
  readonly apply: (fact: Fact, cause: Cause) => void;
  /**
   * Makes memory equal to what the consumers of the service have stored, except for what later facts changed in memory.
   * @returns whether there was no such exception: it may hide something that was missed before those facts
   */
  readonly recall: (isStored: IsStored) => Promise<boolean>;
}

/** What `startFollower` needs. */
export interface FollowerOptions extends Following {
  /** The following service; its consumers of the source store the facts. */
  readonly service: string;
  /** Categories of the streams that the source publishes. */
  readonly categories: readonly string[];
  readonly store: EventStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** That of the source; default 4. */
  readonly partitionCount?: number;
  /** After this time without a message of a partition, watermarks included, the store is read again; default 5,000. */
  readonly silenceMs?: number;
  readonly signal: AbortSignal;
}

/**
 * Follows the facts of a source in one process, however many processes of the service follow it: facts arrive by a tail of the bus,
 * for which the server stores nothing. The consumers of the service store each fact once. After a gap in the positions, or a silence
 * of the bus, the process recalls what they have stored, each `silenceMs` until it has what is missing and messages arrive again.
 * Facts arrive in memory before or after the consumers have stored them.
 * @returns after the first recall @throws failures of the store
 */
export const startFollower = async (options: FollowerOptions): Promise<void> => {
  const follower = new Follower(options);
  await follower.start();
};

/** What is known about one partition. */
interface Place {
  /** Every fact up to here is known, by messages. */
  received: number;
  /** Every fact up to here was in the store at the last recall. */
  stored: number;
  /** Position of a fact that exists and may have been missed; 0 without one. */
  missing: number;
  /** When its last message arrived, by the monotonic clock. */
  receivedAtMs: number;
}

class Follower {
  readonly #options: FollowerOptions;
  readonly #silenceMs: number;
  readonly #places: readonly Place[];
  #recalledAtMs: number;
  /** Whether a recall began and did not end, or left something out after a gap: memory then lacks what the store has. */
  #isRecalling = false;
  /** Aborted when a gap is found. */
  #gap = new AbortController();

  constructor(options: FollowerOptions) {
    const { clock, partitionCount = DEFAULT_PARTITION_COUNT, silenceMs = SILENCE_MS } = options;
    this.#options = options;
    this.#silenceMs = silenceMs;
    this.#recalledAtMs = clock.monotonicMs();
    this.#places = Array.from({ length: partitionCount }, () => ({
      ...{ received: 0, stored: 0, missing: 0 },
      receivedAtMs: clock.monotonicMs(),
    }));
  }

  async start(): Promise<void> {
    const { bus, source, signal } = this.#options;
    // Before the recall, so that no fact is in neither of them.
    const tails = this.#places.map((_, partition) => bus.tail(subjectOf(source, partition), signal));
    await this.#recall();
    for (const [partition, tail] of tails.entries()) void this.#follow(partition, tail);
    void this.#watch();
  }

  async #follow(partition: number, tail: AsyncIterable<Tailed>): Promise<void> {
    const { log, source, signal } = this.#options;
    for await (const { bytes } of tail) {
      if (signal.aborted) return;
      try {
        const batch = decodeBatch(bytes);
        assertPublishable(batch, { ...this.#options, partition, partitionCount: this.#places.length });
        this.#receive(batch);
      } catch (error) {
        log.error('a message is ignored: its source cannot have published it, or it could not be applied', {
          ...{ error, source, partition },
        });
      }
    }
  }

  #receive(batch: FactBatch): void {
    const { clock, service, apply } = this.#options;
    const place = this.#places[batch.partition];
    if (place === undefined) return;
    place.receivedAtMs = clock.monotonicMs();
    const known = Math.max(place.received, place.stored);
    if (batch.previousPosition > known) {
      place.missing = Math.max(place.missing, batch.previousPosition);
      this.#gap.abort();
    }
    place.received = Math.max(place.received, batch.lastPosition);
    for (const fact of batch.facts) {
      // What the store had is recalled, and may be newer.
      if (fact.position <= place.stored) continue;
      context.with(contextOfWork(fact), () => apply(fact, causeOf(fact, service)));
    }
  }

  /** Recalls after a gap, each silence time while something is missing or the bus is silent, and rarely in any case. */
  async #watch(): Promise<void> {
    const { clock, log, signal, source } = this.#options;
    const attempts = failureLog({
      ...{ log, clock },
      failing: 'stored facts could not be recalled',
      back: 'stored facts are recalled again',
    });
    while (!signal.aborted) {
      await clock.sleep(Math.max(1, this.#dueInMs()), this.#gap.signal, signal);
      const { aborted: isGap } = this.#gap.signal;
      // A bus that loses much causes no more than this many recalls.
      if (isGap) await clock.sleep(this.#dueInMs(this.#silenceMs / RECALLS_PER_SILENCE), signal);
      if (signal.aborted) return;
      if (!isGap && this.#dueInMs() > 0) continue;
      this.#gap = new AbortController();
      try {
        await this.#recall();
        attempts.succeeded();
      } catch (error) {
        attempts.failed(error, { source });
      }
    }
  }

  /** Milliseconds until the next recall is due if no gap is found before, or until that long after the last one. */
  #dueInMs(afterMs = this.#waitMs()): number {
    return Math.max(0, this.#recalledAtMs + afterMs - this.#options.clock.monotonicMs());
  }

  /** How long after the last recall the next one is due. */
  #waitMs(): number {
    const isMissing = this.#places.some(({ missing, stored }) => missing > stored);
    if (this.#isRecalling || isMissing) return this.#silenceMs;
    const receivedAtMs = Math.min(...this.#places.map(({ receivedAtMs }) => receivedAtMs));
    const receivedForMs = Math.max(0, receivedAtMs - this.#recalledAtMs);
    return Math.min(receivedForMs + this.#silenceMs, this.#silenceMs * SILENCES_MAX);
  }

  async #recall(): Promise<void> {
    const { clock, store, source, recall } = this.#options;
    this.#recalledAtMs = clock.monotonicMs();
    // Before the rows: they contain at least what the cursors say.
    const stored = await Promise.all(this.#places.map((_, partition) => store.cursor(cursorOf(source, partition))));
    const isAfterGap = this.#isRecalling || this.#places.some((place) => place.missing > place.stored);
    this.#isRecalling = true;
    for (const [partition, place] of this.#places.entries()) place.stored = stored[partition] ?? 0;
    const isStored: IsStored = ({ stream, position }) => position <= (stored[partitionOf(stream, stored.length)] ?? 0);
    const isWhole = await recall(isStored);
    this.#isRecalling = isAfterGap && !isWhole;
  }
}
