import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type EventStore } from '@interlock/event-store';
import { type Clock, failureLog, type Logger, type Outage, type Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { backoffMs } from './backoff.ts';
import { batchesOf, messageIdOf, type PartitionProgress, watermarkOf } from './batches.ts';
import type { Bus } from './bus.ts';
import { encoder } from './encoding.ts';
import { renderRun, type ToFact } from './facts.ts';
import { type Outcome, openInFlight, outcomeOf } from './in-flight.ts';
import type { Keep } from './keep.ts';
import { inSendSpan } from './spans.ts';
import { DEFAULT_PARTITION_COUNT, subjectOf } from './subjects.ts';
import { RELAY_CURSOR, toldSoFar } from './told.ts';

/** Events read from the feed at once. */
const RUN_LENGTH = 1_000;
/** Largest batch of several facts; NATS takes 1 MiB by default. */
const BATCH_BYTES = 512 * 1024;
/** Batches that may be unacknowledged. */
const WINDOW = 16;
/** By default. */
const WATERMARK_MS = 1_000;
/**
 * The cursor moves once in so many positions, and with each watermark: moved behind every batch, it would be a commit more
 * for each. What a relay after this one tells again for it is dropped by its readers.
 */
const CURSOR_STRIDE = 10_000;

export interface RelayOptions {
  /** The service that tells, for example `key-vault`. */
  readonly service: string;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly toFact: ToFact;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Lets one replica of the service tell at a time; by default there is but this one. */
  readonly keep?: Keep;
  /** Default 4. A number that was once used stays: consumers keep a place per partition. */
  readonly partitionCount?: number;
  /** Shortest time between two watermarks of a partition, and the longest until a new session is noticed while idle. */
  readonly watermarkMs?: number;
}

/** A running relay. */
export interface Relay {
  /** Position up to which the bus acknowledged everything that is told. */
  position(): number;
  /**
   * Why nothing is told now, and since when; undefined while it tells.
   * @param isStoreThere whether the store has just answered. Then a relay that is not at work has lost its turn to that of another
   *   replica, and what it failed at last is no outage any more. While the store is away there is none that tells.
   */
  outage(isStoreThere?: boolean): Outage | undefined;
  /**
   * Stops telling. What is in flight may or may not arrive; the next relay finds out. Where `keep` is given, whoever gave it
   * ends the work.
   */
  stop(): Promise<void>;
}

/**
 * Tells what happened in a service: follows the feed of its store, publishes the facts in batches per partition with
 * many in flight, and moves its cursor only behind what the bus acknowledged, in order.
 *
 * Facts may be told twice, never not at all (G7): at the start, after a failure and in every new session of the bus it
 * goes back to what the bus really holds, and every batch names the position before it, so that consumers see what is
 * missing. Several relays of one service would do no harm, but each tell all of it; so one replica does it at a time.
 */
export const startRelay = (options: RelayOptions): Relay => {
  const { service, store, bus, toFact, clock, random, log, tracer } = options;
  const { partitionCount = DEFAULT_PARTITION_COUNT, watermarkMs = WATERMARK_MS } = options;
  const shape = { source: service, partitionCount, batchBytes: BATCH_BYTES };
  const encodeBatch = encoder(FactBatch);
  const stopping = new AbortController();
  const alone: Promise<void>[] = [];
  const { keep = (_, work) => void alone.push(work(stopping.signal)) } = options;
  let cursor = 0;
  let acknowledged = 0;
  let isAtWork = false;
  const attempts = failureLog({ log, clock, failing: 'relay begins again', back: 'relay tells again' });

  const publish = async (batch: FactBatch, messageId: string): Promise<void> =>
    bus.publish(subjectOf(service, batch.partition), messageId, encodeBatch(batch));

  const send = (batch: FactBatch): Promise<Outcome> =>
    outcomeOf(inSendSpan(tracer, batch, (sent) => publish(sent, messageIdOf(sent))));

  const moveCursor = async (): Promise<void> => {
    if (acknowledged <= cursor) return;
    const to = acknowledged;
    const id = random.uuid();
    const cause = { correlationId: id, causationId: id, caller: 'system:relay' };
    try {
      await store.commit({ cursors: [{ name: RELAY_CURSOR, from: cursor, to }] }, cause);
      cursor = to;
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another relay of this service moved it; either of us may go on from there.
      cursor = await store.cursor(RELAY_CURSOR);
    }
  };

  /** @returns the outcome of each: they follow the facts on the same way, so neither waits for the other's acknowledgement */
  const sendWatermarks = (progress: readonly PartitionProgress[], position: number): readonly Promise<Outcome>[] => {
    const marks = progress.map(({ previous }, partition) => watermarkOf(shape, partition, previous, position));
    // The time keeps a repeated watermark from being dropped as a duplicate: it is repeated because it may be lost.
    return marks.map((mark) => outcomeOf(publish(mark, `${messageIdOf(mark)}@${clock.now()}`)));
  };

  /** Waits for an event above the position, until something has failed, and for at most the time between two watermarks. */
  const waitForMore = async (
    position: number,
    failures: readonly AbortSignal[],
    signal: AbortSignal,
  ): Promise<void> => {
    const ends = [signal, ...failures];
    if (ends.some(({ aborted }) => aborted)) return;
    const waiting = new AbortController();
    const stop = (): void => waiting.abort('waited long enough');
    for (const end of ends) end.addEventListener('abort', stop);
    const tick = clock.alarm(watermarkMs, stop);
    await store.waitForEvents(position, waiting.signal);
    tick.cancel();
    for (const end of ends) end.removeEventListener('abort', stop);
  };

  /** Tells until stopped or until the bus is in another session. @throws what publishing or the store throws */
  const tellInOneSession = async (signal: AbortSignal): Promise<void> => {
    const session = bus.session();
    const told = await toldSoFar({ service, partitionCount }, { store, bus });
    const { progress } = told;
    cursor = told.cursor;
    let position = Math.min(...progress.map(({ toldTo }) => toldTo));
    acknowledged = position;
    let markedAt = Number.NEGATIVE_INFINITY;
    const inFlight = openInFlight((reaches) => {
      // What an earlier session took may be forgotten by now.
      if (bus.session() !== session) return;
      acknowledged = Math.max(acknowledged, reaches ?? 0);
      if (reaches === undefined) attempts.succeeded();
    });
    // Beside the telling, one at a time: a move waits for commits under way, which while a fleet stops are long.
    let isMoving = false;
    const moves = openInFlight(() => {
      isMoving = false;
    });
    const beginMove = (): void => {
      if (isMoving) return;
      isMoving = true;
      moves.add(outcomeOf(moveCursor()), undefined);
    };
    const failures = [inFlight.failed, moves.failed];
    while (!signal.aborted && bus.session() === session) {
      const run = await store.feed(position, RUN_LENGTH);
      const { facts, to, failure } = renderRun(run, toFact);
      for (const batch of batchesOf(facts, progress, shape)) {
        await inFlight.downTo(WINDOW - 1);
        inFlight.add(send(batch), undefined);
      }
      position = to ?? position;
      inFlight.add(Promise.resolve({}), position);
      if (failure !== undefined) {
        // Told again with each attempt otherwise, for as long as that lasts.
        await inFlight.downTo(0);
        await moveCursor();
        throw failure.error;
      }
      if (acknowledged - cursor >= CURSOR_STRIDE) beginMove();
      if (clock.monotonicMs() - markedAt >= watermarkMs) {
        for (const mark of sendWatermarks(progress, position)) inFlight.add(mark, undefined);
        markedAt = clock.monotonicMs();
        beginMove();
      }
      // A whole run may have more behind it. Otherwise nothing is waited for but the next event, acknowledgements neither.
      if (run.length < RUN_LENGTH) await waitForMore(position, failures, signal);
      if (inFlight.failed.aborted) await inFlight.downTo(0);
      if (moves.failed.aborted) await moves.downTo(0);
    }
    await moves.downTo(0);
  };

  const tell = async (signal: AbortSignal): Promise<void> => {
    isAtWork = true;
    while (!signal.aborted) {
      try {
        await tellInOneSession(signal);
      } catch (error) {
        attempts.failed(error, { service });
        await clock.sleep(backoffMs(attempts.outage()?.failures ?? 1, random), signal);
      }
    }
    isAtWork = false;
  };
  keep('relay/0', tell);

  return {
    position: () => acknowledged,
    // The bus knows of a lost connection at once, the relay with the next thing it tells.
    outage: (isStoreThere = false) => bus.outage?.() ?? (isStoreThere && !isAtWork ? undefined : attempts.outage()),
    async stop() {
      stopping.abort();
      await Promise.all(alone);
    },
  };
};
