import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type EventStore } from '@interlock/event-store';
import { type Clock, type FailureLog, failureLog, type Logger, type Outage, type Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { backoffMs } from './backoff.ts';
import { type BatchShape, batchesOf, messageIdOf, type PartitionProgress, watermarkOf } from './batches.ts';
import type { Bus } from './bus.ts';
import { encoder } from './encoding.ts';
import { renderRun, type ToFact } from './facts.ts';
import { type InFlight, type Outcome, openInFlight, outcomeOf } from './in-flight.ts';
import type { Keep } from './keep.ts';
import { RELAY_CURSOR, readPublishedProgress } from './published-progress.ts';
import { type FactSpans, factSpans } from './spans.ts';
import { DEFAULT_PARTITION_COUNT, subjectOf } from './subjects.ts';

/** Events read from the feed at once. */
const RUN_LENGTH = 1_000;
/** Largest batch of several facts; NATS accepts 1 MiB by default. */
const BATCH_BYTES = 512 * 1024;
/** Batches that may be unacknowledged. */
const WINDOW = 16;
const WATERMARK_MS = 1_000;
/**
 * The cursor moves once in this many positions, and with each watermark: a commit after every batch would double the commits. Facts
 * that the next relay publishes again are ignored by their consumers.
 */
const CURSOR_STRIDE = 10_000;

/** What a relay needs. */
export interface RelayOptions {
  /** The publishing service, for example `key-vault`. */
  readonly service: string;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly toFact: ToFact;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Lets one replica of the service publish at a time; by default this process does. */
  readonly keep?: Keep;
  /** Default 4. Never change it: consumers keep a cursor for each partition. */
  readonly partitionCount?: number;
  /** Shortest time between two watermarks of a partition, and the longest until an idle relay notices a new session. */
  readonly watermarkMs?: number;
}

/** A running relay. */
export interface Relay {
  /** Position up to which the bus has acknowledged every published fact. */
  position(): number;
  /**
   * Why nothing is published now, and since when; undefined while it publishes.
   * @param isStoreAvailable whether the store has just responded. Then a relay that is not running has passed its partition to
   *   another replica, and its last failure is no outage any more. While the store is away no replica publishes.
   */
  outage(isStoreAvailable?: boolean): Outage | undefined;
  /** Stops. Batches in flight may or may not arrive; the next relay finds out. With `keep`, its owner ends the work. */
  stop(): Promise<void>;
}

/**
 * Publishes the events of a service: follows the feed of its store, publishes the facts in batches for each partition with many
 * in flight, and moves its cursor only past acknowledged batches, in order.
 *
 * Facts may be published twice, but none is left out (G7): at the start, after a failure and in every new session of the bus it
 * returns to what the bus really holds. Every batch names the position before it, so consumers see what is missing. Several relays
 * of one service would do no harm, but each would publish everything; so one replica does it at a time.
 */
export const startRelay = (options: RelayOptions): Relay => {
  const stopping = new AbortController();
  const alone: Promise<void>[] = [];
  const { bus, keep = (_, work) => void alone.push(work(stopping.signal)) } = options;
  const publisher = new Publisher(options);
  keep('relay/0', (signal) => publisher.run(signal));
  return {
    position: () => publisher.acknowledged,
    // The bus notices a lost connection at once, the relay only with its next publish.
    outage: (isStoreAvailable = false) => bus.outage?.() ?? publisher.outage(isStoreAvailable),
    async stop() {
      stopping.abort();
      await Promise.all(alone);
    },
  };
};

class Publisher {
  /** Position up to which the bus has acknowledged every published fact. */
  acknowledged = 0;
  readonly #options: RelayOptions;
  readonly #shape: BatchShape;
  readonly #watermarkMs: number;
  readonly #encodeBatch = encoder(FactBatch);
  readonly #attempts: FailureLog;
  readonly #spans: FactSpans;
  #cursor = 0;
  #isRunning = false;

  constructor(options: RelayOptions) {
    const { service, log, clock, partitionCount = DEFAULT_PARTITION_COUNT, watermarkMs = WATERMARK_MS } = options;
    this.#options = options;
    this.#shape = { source: service, partitionCount, batchBytes: BATCH_BYTES };
    this.#watermarkMs = watermarkMs;
    this.#spans = factSpans(options);
    this.#attempts = failureLog({ log, clock, failing: 'relay begins again', back: 'relay publishes again' });
  }

  outage(isStoreAvailable: boolean): Outage | undefined {
    return isStoreAvailable && !this.#isRunning ? undefined : this.#attempts.outage();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { service, clock, random } = this.#options;
    this.#isRunning = true;
    while (!signal.aborted) {
      try {
        await this.#publishInSession(signal);
      } catch (error) {
        this.#attempts.failed(error, { service });
        await clock.sleep(backoffMs(this.#attempts.outage()?.failures ?? 1, random), signal);
      }
    }
    this.#isRunning = false;
  }

  /** Publishes until stopped or until the bus is in another session. @throws failures of the bus or the store */
  async #publishInSession(signal: AbortSignal): Promise<void> {
    const { service, store, bus, toFact, clock } = this.#options;
    const session = bus.session();
    const { partitionCount } = this.#shape;
    const { cursor, progress } = await readPublishedProgress({ service, partitionCount }, { store, bus });
    this.#cursor = cursor;
    let position = Math.min(...progress.map(({ publishedTo }) => publishedTo));
    this.acknowledged = position;
    const inFlight = this.#openWindow(session);
    const moves = new CursorMoves(() => this.#moveCursor());
    let markedAt = Number.NEGATIVE_INFINITY;
    while (!signal.aborted && bus.session() === session) {
      const run = await store.feed(position, RUN_LENGTH);
      const { facts, to, failure } = renderRun(run, toFact);
      for (const batch of batchesOf(facts, progress, this.#shape)) {
        await inFlight.downTo(WINDOW - 1);
        inFlight.add(this.#send(batch), undefined);
      }
      position = to ?? position;
      inFlight.add(Promise.resolve({}), position);
      if (failure !== undefined) {
        // Otherwise each attempt would publish these facts again.
        await inFlight.downTo(0);
        await this.#moveCursor();
        throw failure.error;
      }
      if (this.acknowledged - this.#cursor >= CURSOR_STRIDE) moves.start();
      if (clock.monotonicMs() - markedAt >= this.#watermarkMs) {
        for (const mark of this.#sendWatermarks(progress, position)) inFlight.add(mark, undefined);
        markedAt = clock.monotonicMs();
        moves.start();
      }
      // After a complete run more events may exist. Otherwise it waits only for the next event, not for acknowledgements.
      if (run.length < RUN_LENGTH) await this.#waitForMore(position, [signal, inFlight.failed, moves.failed]);
      if (inFlight.failed.aborted) await inFlight.downTo(0);
      await moves.throwFailure();
    }
    await moves.end();
  }

  #openWindow(session: number): InFlight {
    return openInFlight((reaches) => {
      // The bus may have lost what it acknowledged in an earlier session.
      if (this.#options.bus.session() !== session) return;
      this.acknowledged = Math.max(this.acknowledged, reaches ?? 0);
      if (reaches === undefined) this.#attempts.succeeded();
    });
  }

  async #publish(batch: FactBatch, messageId: string): Promise<void> {
    const { service, bus } = this.#options;
    await bus.publish(subjectOf(service, batch.partition), messageId, this.#encodeBatch(batch));
  }

  #send(batch: FactBatch): Promise<Outcome> {
    return outcomeOf(this.#spans.publish(batch, () => this.#publish(batch, messageIdOf(batch))));
  }

  /** Watermarks follow the facts on the same connection, so neither waits for the acknowledgement of the other. */
  #sendWatermarks(progress: readonly PartitionProgress[], position: number): readonly Promise<Outcome>[] {
    const marks = progress.map(({ previous }, partition) => watermarkOf(this.#shape, partition, previous, position));
    // A watermark is repeated because it may be lost; with the time in its id it is not dropped as a duplicate.
    return marks.map((mark) => outcomeOf(this.#publish(mark, `${messageIdOf(mark)}@${this.#options.clock.now()}`)));
  }

  /** Waits for an event above the position, for the end of one of the signals, or for the time between two watermarks. */
  async #waitForMore(position: number, ends: readonly AbortSignal[]): Promise<void> {
    const { store, clock } = this.#options;
    if (ends.some(({ aborted }) => aborted)) return;
    const waiting = new AbortController();
    const stop = (): void => waiting.abort('waited long enough');
    for (const end of ends) end.addEventListener('abort', stop);
    const tick = clock.alarm(this.#watermarkMs, stop);
    await store.waitForEvents(position, waiting.signal);
    tick.cancel();
    for (const end of ends) end.removeEventListener('abort', stop);
  }

  async #moveCursor(): Promise<void> {
    if (this.acknowledged <= this.#cursor) return;
    const { store, random } = this.#options;
    const to = this.acknowledged;
    const id = random.uuid();
    const cause = { correlationId: id, causes: [], caller: 'system:relay' };
    try {
      await store.commit({ cursors: [{ name: RELAY_CURSOR, from: this.#cursor, to }] }, cause);
      this.#cursor = to;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another relay of this service moved it; both may continue from there.
      this.#cursor = await store.cursor(RELAY_CURSOR);
    }
  }
}

/** Moves the cursor concurrently with publishing, one move at a time: a move waits for running commits, which may be large. */
class CursorMoves {
  readonly #move: () => Promise<void>;
  #isMoving = false;
  readonly #inFlight = openInFlight(() => {
    this.#isMoving = false;
  });

  constructor(move: () => Promise<void>) {
    this.#move = move;
  }

  get failed(): AbortSignal {
    return this.#inFlight.failed;
  }

  /** Starts a move, unless one is running. */
  start(): void {
    if (this.#isMoving) return;
    this.#isMoving = true;
    this.#inFlight.add(outcomeOf(this.#move()), undefined);
  }

  async throwFailure(): Promise<void> {
    if (this.failed.aborted) await this.#inFlight.downTo(0);
  }

  end(): Promise<void> {
    return this.#inFlight.downTo(0);
  }
}
