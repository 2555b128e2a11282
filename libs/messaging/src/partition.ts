import { type Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection, StoreUnavailable } from '@interlock/event-store';
import { failureLog, type Instant } from '@interlock/runtime';
import { backoffMs } from './backoff.ts';
import { batchesTogether, messageIdOf } from './batches.ts';
import type { Delivery } from './bus.ts';
import type { ConsumerOptions } from './consumer.ts';
import { FEED_ENDS_EARLIER } from './feed.ts';
import { createLane, TOGETHER_MAX } from './lane.ts';
import { inProcessSpan } from './spans.ts';
import { durableOf, partitionOf, streamOf, subjectOf } from './subjects.ts';

/** A third of the bus's acknowledgement wait: a fact that takes longer is not delivered to somebody else meanwhile. */
const WORKING_MS = 10_000;
/**
 * A message moves our place by at most so many positions on its own word. A relay publishes runs of 1,000 events and a watermark each
 * second: a message further ahead is rare, and what it claims is read from the source, at the cost of one call.
 */
export const UNCONFIRMED_MAX = 10_000;
/** Pause after a failure of our own before a message is delivered again. */
const AGAIN_MS = 5_000;
/** Messages that may wait here while others are taken in, and their bytes. */
const WAITING_MAX = TOGETHER_MAX;
const WAITING_BYTES_MAX = 1024 * 1024;
/**
 * A place moved by facts without effect is stored within this time. A commit for each such message would cost as much as the
 * effects of others; what a successor hears again for it decides nothing new.
 */
const SAVE_MS = 1_000;

export interface PartitionStatus {
  readonly source: string;
  readonly partition: number;
  /** Everything up to here is applied, parked or of no concern. */
  readonly position: number;
  /** Facts known to exist and not yet applied: at least this many. */
  readonly gap: number;
  /** How long the oldest of them has waited, in milliseconds; 0 when there is none. */
  readonly lagMs: number;
}

export interface PartitionReader {
  status(): PartitionStatus;
  /** Resolves once the reader has stopped. */
  readonly done: Promise<void>;
}

export interface PartitionOptions extends Required<Omit<ConsumerOptions, 'keep'>> {
  readonly partition: number;
  readonly signal: AbortSignal;
  /** Called for each message that is refused for good. */
  readonly onRefused: () => void;
}

/** A message that its source cannot have published, or that is meant for somebody else. It is never delivered again. */
class Refused extends Error {
  override readonly name = 'Refused';
}

interface Received {
  readonly delivery: Delivery;
  readonly batch: FactBatch;
}

/**
 * Reads one partition of a source, from the bus while that keeps up, from the source itself where something is missing:
 * when a batch or watermark names a previous position we have not reached, and when the bus has been silent for long.
 *
 * A source whose feed ends before our place was restored to an earlier moment, and this service was not: what it tells from
 * there on stands under positions we have passed, and nobody can say which of ours were taken back. Then nothing is taken in
 * any more, and the lag says so, until this service's store is restored to the same moment.
 */
export const startPartition = (options: PartitionOptions): PartitionReader => {
  const { service, source, partition, partitionCount, bus, clock, random, log, tracer, readFeed, signal } = options;
  const { silenceMs, categories, onRefused } = options;
  const lane = createLane(options);
  /** Facts in hand, and the position up to which the source is being read because a message claims it. */
  let inHand: readonly Fact[] = [];
  let awaited = 0;
  let heardAt = clock.monotonicMs();
  let lookedAt = heardAt - silenceMs;
  let restoredSince: Instant | undefined;
  let turn: Promise<void> = Promise.resolve();
  let saving: { cancel(): void } | undefined;

  /** One at a time: the bus and the look after a silence never apply facts at once. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const mine = turn.then(work);
    // The failure is the caller's, who has `mine`; the next in turn only needs to know that this one ended.
    turn = mine.catch(() => undefined);
    return mine;
  };

  /** Repeats the work until it succeeds or the reader stops. @param what for the log, as it is when it is done */
  const insist = async (what: string, work: () => Promise<void>): Promise<void> => {
    const attempts = failureLog({ log, clock, failing: `${what} again`, back: what });
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await work();
        attempts.succeeded();
        return;
      } catch (error) {
        if (signal.aborted) return;
        attempts.failed(error, { source, partition, position: lane.reached() });
        await clock.sleep(backoffMs(failures, random), signal);
      }
    }
  };

  const saveSoon = (): void => {
    saving ??= clock.alarm(SAVE_MS, () => {
      saving = undefined;
      // Never rejects: it is repeated until it succeeds or the reader stops.
      void inTurn(() => insist('place is saved', () => lane.save()));
    });
  };

  const unapplied = (): readonly Fact[] => inHand.filter(({ position }) => position > lane.reached());

  const lagMs = (): number => {
    const [oldest] = unapplied();
    const since = restoredSince ?? oldest?.eventTime?.getTime();
    return since === undefined ? 0 : Math.max(0, clock.now() - since);
  };

  const apply = async (batch: FactBatch, deliveryCount: number): Promise<void> => {
    inHand = batch.facts;
    const facts = unapplied();
    if (facts.length > 0) {
      const attributes = {
        'messaging.consumer.group.name': service,
        'interlock.delivery_count': deliveryCount,
        'interlock.gap': facts.length,
        'interlock.lag_ms': lagMs(),
      };
      await inProcessSpan(tracer, { ...batch, facts: [...facts] }, attributes, () => lane.apply(facts));
    }
    inHand = [];
  };

  const assertSameHistory = (): void => {
    if (restoredSince === undefined) return;
    throw new Error(`${source} was restored to an earlier moment, and this service was not`);
  };

  const noteRestore = (error: unknown): never => {
    if (error instanceof Rejection && error.reason === FEED_ENDS_EARLIER && restoredSince === undefined) {
      restoredSince = clock.now();
      log.error('the source was restored to an earlier moment and this service was not: restore it to the same one', {
        error,
        source,
        partition,
      });
    }
    throw error;
  };

  /** Reads the feed of the source once. @returns whether it went on */
  const readOnce = async (): Promise<boolean> => {
    assertSameHistory();
    const afterPosition = lane.reached();
    const batch = await readFeed({ source, partition, partitionCount, afterPosition, signal }).catch(noteRestore);
    assertMeantForUs(batch);
    await apply(batch, 1);
    if (signal.aborted || batch.lastPosition <= afterPosition) return false;
    lane.advance(batch.lastPosition);
    await lane.save();
    return true;
  };

  /** Reads the feed of the source up to a position. @throws Refused when the feed ends before it: whoever claims it is not the source */
  const catchUp = async (position: number): Promise<void> => {
    let isEnd = false;
    await insist('feed is read', async () => {
      // Another replica of this service may have taken in what we miss.
      await lane.refresh();
      while (lane.reached() < position && !isEnd && !signal.aborted) isEnd = !(await readOnce());
    });
    if (signal.aborted || lane.reached() >= position) return;
    throw new Refused(`position ${position} is beyond the feed of ${source}, which ends at ${lane.reached()} here`);
  };

  const assertMeantForUs = (batch: FactBatch): void => {
    const isOurs = batch.source === source && batch.partition === partition && batch.partitionCount === partitionCount;
    if (!isOurs) {
      throw new Refused(
        `expected facts of ${source}, partition ${partition} of ${partitionCount}, and got facts of ${batch.source}, ` +
          `partition ${batch.partition} of ${batch.partitionCount}: both sides must be configured alike`,
      );
    }
    const stray = strayFact(batch, categories);
    if (stray !== undefined) {
      throw new Refused(
        `fact ${stray.eventId} at position ${stray.position} of stream ${stray.stream} cannot be from partition ${partition} of ` +
          `${source}, which publishes ${categories.join(', ')}, up to position ${batch.lastPosition}`,
      );
    }
  };

  const takeIn = async (batch: FactBatch, deliveryCount: number): Promise<void> => {
    // A watermark below our place: of a relay that is behind another, or of a source that was restored.
    if (batch.facts.length === 0 && batch.lastPosition < lane.reached()) await lookOnce();
    assertSameHistory();
    // Facts move our place, and the source does; a watermark alone never does.
    const isFar = batch.lastPosition - lane.reached() > UNCONFIRMED_MAX;
    const missing = isFar ? batch.lastPosition : batch.previousPosition;
    if (missing > lane.reached()) {
      awaited = missing;
      await catchUp(missing).finally(() => {
        awaited = 0;
      });
    }
    await apply(batch, deliveryCount);
    if (signal.aborted) return;
    if (batch.facts.length > 0) saveSoon();
  };

  /** Asks the source itself, at most once in a silence's time; a failure of that is the next look's. */
  const lookOnce = async (): Promise<void> => {
    if (clock.monotonicMs() - lookedAt < silenceMs) return;
    lookedAt = clock.monotonicMs();
    try {
      await readOnce();
    } catch (error) {
      log.warn('source is not reached', { error, source, partition });
    }
  };

  /** Says again and again that a delivery is still being worked on, until it is told to end. */
  const stayAtWork = (delivery: Delivery): (() => void) => {
    let next = clock.alarm(WORKING_MS, repeat);
    function repeat(): void {
      delivery.working();
      next = clock.alarm(WORKING_MS, repeat);
    }
    return () => next.cancel();
  };

  const reject = ({ delivery, batch }: Partial<Received> & Pick<Received, 'delivery'>, error: unknown): void => {
    const messageId = batch && messageIdOf(batch);
    const facts = { error, source, partition, messageId, deliveryCount: delivery.deliveryCount };
    if (error instanceof Refused) {
      log.error(
        'message is refused: its source cannot have published it, or both sides are configured differently',
        facts,
      );
      onRefused();
      delivery.refuse(error.message);
    } else {
      log.error('message is not taken in', facts);
      delivery.nak(AGAIN_MS);
    }
  };

  const decoded = (delivery: Delivery): Received | undefined => {
    let batch: FactBatch | undefined;
    try {
      batch = decodeBatch(delivery.bytes);
      assertMeantForUs(batch);
      return { delivery, batch };
    } catch (error) {
      reject(batch === undefined ? { delivery } : { delivery, batch }, error);
      return undefined;
    }
  };

  /** Takes in what was delivered: facts of messages that wait together are taken in together. */
  const handle = async (deliveries: readonly Delivery[]): Promise<void> => {
    const ends = deliveries.map(stayAtWork);
    const received = deliveries.flatMap((delivery) => decoded(delivery) ?? []);
    for (const { batch, of } of batchesTogether(received, TOGETHER_MAX)) {
      try {
        await inTurn(() => takeIn(batch, Math.max(...of.map(({ delivery }) => delivery.deliveryCount))));
        if (!signal.aborted) for (const { delivery } of of) delivery.ack();
      } catch (error) {
        for (const one of of) reject(one, error);
      } finally {
        heardAt = clock.monotonicMs();
      }
    }
    for (const end of ends) end();
  };

  const listen = async (): Promise<void> => {
    const durable = durableOf(service, source, partition);
    const interest = { stream: streamOf(source), subject: subjectOf(source, partition), durable, signal };
    let waiting: Delivery[] = [];
    let bytes = 0;
    let handling: Promise<void> | undefined;
    const takeWaiting = async (): Promise<void> => {
      while (waiting.length > 0) {
        const taken = waiting;
        waiting = [];
        bytes = 0;
        await handle(taken);
      }
      // In the step that finds nothing: what came between that and a later one would wait for the next message.
      handling = undefined;
    };
    for await (const delivery of bus.subscribe(interest)) {
      waiting.push(delivery);
      bytes += delivery.bytes.byteLength;
      handling ??= takeWaiting();
      if (waiting.length >= WAITING_MAX || bytes >= WAITING_BYTES_MAX) await handling;
    }
    await handling;
  };

  /** After a silence the watermarks are late: what the source has told since is read from it. */
  const watchSilence = async (): Promise<void> => {
    const attempts = failureLog({
      log,
      clock,
      failing: 'bus is silent and source not reached',
      back: 'source is reached again',
    });
    while (!signal.aborted) {
      const silentMs = clock.monotonicMs() - heardAt;
      await clock.sleep(Math.max(1, silenceMs - silentMs), signal);
      if (signal.aborted || clock.monotonicMs() - heardAt < silenceMs) continue;
      heardAt = clock.monotonicMs();
      try {
        await inTurn(async () => {
          await lane.refresh();
          while (await readOnce());
        });
        attempts.succeeded();
      } catch (error) {
        if (!signal.aborted) attempts.failed(error, { source, partition });
      }
    }
  };

  const run = async (): Promise<void> => {
    await insist('place is read', () => lane.refresh());
    await Promise.all([listen(), watchSilence()]);
    saving?.cancel();
    await inTurn(() => lane.save()).catch((error: unknown) => {
      // A successor hears again what the stored place does not tell.
      if (!(error instanceof StoreUnavailable)) throw error;
    });
  };

  return {
    done: run(),
    status() {
      const waiting = unapplied().length;
      const gap = Math.max(waiting, awaited > lane.reached() || restoredSince !== undefined ? 1 : 0);
      return { source, partition, position: lane.reached(), gap, lagMs: lagMs() };
    },
  };
};

/** @throws Refused for bytes that are no batch */
const decodeBatch = (bytes: Uint8Array): FactBatch => {
  try {
    return FactBatch.decode(bytes);
  } catch (cause) {
    throw new Refused('the message is no batch of facts', { cause });
  }
};

/** The first fact of a batch that is out of order, or of a stream that its source does not publish in that partition. */
const strayFact = (batch: FactBatch, categories: readonly string[]): Fact | undefined => {
  let previous = batch.previousPosition;
  for (const fact of batch.facts) {
    const isOfSource = categories.some((category) => fact.stream.startsWith(`${category}-`));
    const isInOrder = fact.position > previous && fact.position <= batch.lastPosition;
    if (!isOfSource || !isInOrder || partitionOf(fact.stream, batch.partitionCount) !== batch.partition) return fact;
    previous = fact.position;
  }
  return undefined;
};
