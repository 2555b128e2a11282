import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection, StoreUnavailable } from '@interlock/event-store';
import { type Alarm, failureLog, type Instant, serialQueue } from '@interlock/runtime';
import { backoffMs } from './backoff.ts';
import { joinBatches, messageIdOf } from './batches.ts';
import type { Delivery } from './bus.ts';
import type { ConsumerOptions } from './consumer-options.ts';
import { CONCURRENT_MAX, FactApplier } from './fact-applier.ts';
import { FEED_ENDS_EARLIER } from './feed.ts';
import { assertPublishable, decodeBatch, RefusedMessage } from './received-batch.ts';
import { type FactSpans, factSpans } from './spans.ts';
import { durableOf, streamOf, subjectOf } from './subjects.ts';

/** A third of the bus's acknowledgement wait: a message in progress is not delivered to another consumer meanwhile. */
const WORKING_MS = 10_000;
/**
 * A message moves the cursor by at most this many positions without confirmation. The facts before one further ahead are read from
 * the source, with one call. A relay publishes runs of 1,000 events and a watermark each second. Less than the events that a source
 * keeps in memory (`recentEvents`): a read of 10,000 from its database took half a second of its time in the middle of other work.
 */
export const UNCONFIRMED_MAX = 2_000;
/** Delay of the redelivery after a failure of this service. */
const REDELIVERY_MS = 5_000;
/** Messages that may wait here while others are processed, and their bytes. */
const WAITING_MAX = CONCURRENT_MAX;
const WAITING_BYTES_MAX = 1024 * 1024;
/**
 * A cursor that facts without effect moved is stored within this time. A commit for each such message would cost as much as the
 * effects of other facts; a successor that receives them again decides nothing.
 */
const SAVE_MS = 1_000;

/** How far one partition is consumed. */
export interface PartitionStatus {
  readonly source: string;
  readonly partition: number;
  /** Everything up to here is applied, parked or irrelevant. */
  readonly position: number;
  /** Facts known to exist and not yet applied: at least this many. */
  readonly gap: number;
  /** How long the oldest of them has waited, in milliseconds; 0 if there are none. */
  readonly lagMs: number;
}

/** A running reader. */
export interface PartitionReader {
  status(): PartitionStatus;
  /** Resolves once the reader has stopped. */
  readonly done: Promise<void>;
}

/** What `startPartition` needs. */
export interface PartitionOptions extends Required<Omit<ConsumerOptions, 'keep'>> {
  readonly partition: number;
  readonly signal: AbortSignal;
  /** Called for each refused message. */
  readonly onRefused: () => void;
}

/**
 * Reads one partition of a source: from the bus while that is complete, and from the feed of the source when a batch or watermark
 * names a previous position that this reader has not reached, or when the bus has been silent for long.
 *
 * If the feed of the source ends before the cursor, the source was restored to an earlier moment and this service was not. New
 * events of the source then get positions that this reader has passed, and which of the applied facts were lost is unknown. So
 * the reader applies nothing more, and its lag grows, until the store of this service is restored to the same moment.
 */
export const startPartition = (options: PartitionOptions): PartitionReader => {
  const reader = new Reader(options);
  return { status: () => reader.status(), done: reader.run() };
};

interface Received {
  readonly delivery: Delivery;
  readonly batch: FactBatch;
}

class Reader {
  readonly #options: PartitionOptions;
  readonly #facts: FactApplier;
  readonly #spans: FactSpans;
  /** One batch at a time: the bus and the read after a silence never apply facts concurrently. */
  readonly #serially = serialQueue();
  #inProgress: readonly Fact[] = [];
  /** Position up to which the feed is being read because a message claims it; 0 when no read runs. */
  #awaited = 0;
  #receivedAt: number;
  #feedReadAt: number;
  #restoredSince: Instant | undefined;
  #saving: Alarm | undefined;

  constructor(options: PartitionOptions) {
    this.#options = options;
    this.#facts = new FactApplier(options);
    this.#spans = factSpans({ ...options, consumer: options.service });
    this.#receivedAt = options.clock.monotonicMs();
    this.#feedReadAt = this.#receivedAt - options.silenceMs;
  }

  status(): PartitionStatus {
    const { source, partition } = this.#options;
    const isBehind = this.#awaited > this.#facts.reached || this.#restoredSince !== undefined;
    const gap = Math.max(this.#unapplied().length, isBehind ? 1 : 0);
    return { source, partition, position: this.#facts.reached, gap, lagMs: this.#lagMs() };
  }

  async run(): Promise<void> {
    await this.#retry('cursor is read', () => this.#facts.refresh());
    await Promise.all([this.#consumeBus(), this.#watchSilence()]);
    this.#saving?.cancel();
    await this.#serially(() => this.#facts.save()).catch((error: unknown) => {
      // A successor receives the facts after the stored cursor again.
      if (!(error instanceof StoreUnavailable)) throw error;
    });
  }

  #unapplied(): readonly Fact[] {
    return this.#inProgress.filter(({ position }) => position > this.#facts.reached);
  }

  #lagMs(): number {
    const [oldest] = this.#unapplied();
    const since = this.#restoredSince ?? oldest?.eventTime?.getTime();
    return since === undefined ? 0 : Math.max(0, this.#options.clock.now() - since);
  }

  /** Repeats the work until it succeeds or the reader stops. @param what for the log: what is done */
  async #retry(what: string, work: () => Promise<void>): Promise<void> {
    const { log, clock, random, signal, source, partition } = this.#options;
    const attempts = failureLog({ log, clock, failing: `${what} again`, back: what });
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await work();
        attempts.succeeded();
        return;
      } catch (error) {
        if (signal.aborted) return;
        attempts.failed(error, { source, partition, position: this.#facts.reached });
        await clock.sleep(backoffMs(failures, random), signal);
      }
    }
  }

  // From the bus

  async #consumeBus(): Promise<void> {
    const { service, source, partition, bus, signal } = this.#options;
    const durable = durableOf(service, source, partition);
    const interest = { stream: streamOf(source), subject: subjectOf(source, partition), durable, signal };
    let waiting: Delivery[] = [];
    let bytes = 0;
    let handling: Promise<void> | undefined;
    const handleWaiting = async (): Promise<void> => {
      while (waiting.length > 0) {
        const taken = waiting;
        waiting = [];
        bytes = 0;
        await this.#handle(taken);
      }
      // In the same step as the check: a message that arrives in between would wait for the next one.
      handling = undefined;
    };
    for await (const delivery of bus.subscribe(interest)) {
      waiting.push(delivery);
      bytes += delivery.bytes.byteLength;
      handling ??= handleWaiting();
      if (waiting.length >= WAITING_MAX || bytes >= WAITING_BYTES_MAX) await handling;
    }
    await handling;
  }

  /** Applies delivered messages; facts of messages that waited together are applied together. */
  async #handle(deliveries: readonly Delivery[]): Promise<void> {
    const { clock, signal } = this.#options;
    const ends = deliveries.map((delivery) => this.#stayAtWork(delivery));
    const received = deliveries.flatMap((delivery) => this.#decode(delivery) ?? []);
    for (const { batch, of } of joinBatches(received, CONCURRENT_MAX)) {
      try {
        const deliveries = of.map(({ delivery }) => delivery);
        await this.#serially(() => this.#applyReceived(batch, deliveries));
        if (signal.aborted) continue;
        for (const { delivery, batch: own } of of) this.#spans.settle('ack', own, delivery, () => delivery.ack());
      } catch (error) {
        for (const { delivery, batch: own } of of) this.#reject(delivery, error, own);
      } finally {
        this.#receivedAt = clock.monotonicMs();
      }
    }
    for (const end of ends) end();
  }

  /** Reports a delivery as in progress until the returned function is called. */
  #stayAtWork(delivery: Delivery): () => void {
    const { clock } = this.#options;
    const repeat = (): void => {
      delivery.working();
      next = clock.alarm(WORKING_MS, repeat);
    };
    let next = clock.alarm(WORKING_MS, repeat);
    return () => next.cancel();
  }

  #decode(delivery: Delivery): Received | undefined {
    let batch: FactBatch | undefined;
    try {
      batch = decodeBatch(delivery.bytes);
      assertPublishable(batch, this.#options);
      return { delivery, batch };
    } catch (error) {
      this.#reject(delivery, error, batch);
      return undefined;
    }
  }

  #reject(delivery: Delivery, error: unknown, batch: FactBatch | undefined): void {
    const { source, partition, log, onRefused } = this.#options;
    const messageId = batch && messageIdOf(batch);
    const fields = { error, source, partition, messageId, deliveryCount: delivery.deliveryCount };
    const settle = (operation: 'nak' | 'term', respond: () => void): void =>
      batch === undefined ? respond() : this.#spans.settle(operation, batch, delivery, respond);
    if (error instanceof RefusedMessage) {
      log.error(
        'message is refused: its source cannot have published it, or both sides are configured differently',
        fields,
      );
      onRefused();
      settle('term', () => delivery.refuse(error.message));
    } else {
      log.error('message is not applied', fields);
      settle('nak', () => delivery.nak(REDELIVERY_MS));
    }
  }

  async #applyReceived(batch: FactBatch, received: readonly Delivery[]): Promise<void> {
    // A watermark below the cursor is of a relay that is behind another, or of a restored source.
    if (batch.facts.length === 0 && batch.lastPosition < this.#facts.reached) await this.#checkFeed();
    this.#assertSameHistory();
    // Facts move the cursor, and the feed of the source does; a watermark alone never does.
    const isFar = batch.lastPosition - this.#facts.reached > UNCONFIRMED_MAX;
    const missing = isFar ? batch.lastPosition : batch.previousPosition;
    if (missing > this.#facts.reached) {
      this.#awaited = missing;
      await this.#readFeedUpTo(missing).finally(() => {
        this.#awaited = 0;
      });
    }
    await this.#apply(batch, received);
    if (!this.#options.signal.aborted && batch.facts.length > 0) this.#saveSoon();
  }

  async #apply(batch: FactBatch, received: readonly Delivery[]): Promise<void> {
    this.#inProgress = batch.facts;
    const facts = this.#unapplied();
    if (facts.length > 0) {
      const attributes = {
        'messaging.consumer.group.name': this.#options.service,
        'interlock.gap': facts.length,
        'interlock.lag_ms': this.#lagMs(),
      };
      const applied = { ...batch, facts: [...facts] };
      await this.#spans.process(applied, received, attributes, () => this.#facts.apply(facts));
    }
    this.#inProgress = [];
  }

  #saveSoon(): void {
    this.#saving ??= this.#options.clock.alarm(SAVE_MS, () => {
      this.#saving = undefined;
      // Never rejects: it is repeated until it succeeds or the reader stops.
      void this.#serially(() => this.#retry('cursor is saved', () => this.#facts.save()));
    });
  }

  // From the feed of the source

  /** Reads the feed up to a position. @throws RefusedMessage when the feed ends before it: the source cannot have published it */
  async #readFeedUpTo(position: number): Promise<void> {
    const { source, signal } = this.#options;
    let isEnd = false;
    await this.#retry('feed is read', async () => {
      // Another replica of this service may have applied the missing facts.
      await this.#facts.refresh();
      while (this.#facts.reached < position && !isEnd && !signal.aborted) isEnd = !(await this.#readFeedOnce());
    });
    if (signal.aborted || this.#facts.reached >= position) return;
    throw new RefusedMessage(
      `position ${position} is beyond the feed of ${source}, which ends at ${this.#facts.reached} here`,
    );
  }

  /** @returns whether the cursor moved */
  async #readFeedOnce(): Promise<boolean> {
    this.#assertSameHistory();
    const { source, partition, partitionCount, readFeed, signal } = this.#options;
    const afterPosition = this.#facts.reached;
    const request = { source, partition, partitionCount, afterPosition, signal };
    const batch = await readFeed(request).catch((error: unknown) => this.#noteRestore(error));
    assertPublishable(batch, this.#options);
    await this.#apply(batch, []);
    if (signal.aborted || batch.lastPosition <= afterPosition) return false;
    this.#facts.advance(batch.lastPosition);
    await this.#facts.save();
    return true;
  }

  /** Reads the feed at most once in the silence time, to find out whether the source was restored. */
  async #checkFeed(): Promise<void> {
    const { clock, log, silenceMs, source, partition } = this.#options;
    if (clock.monotonicMs() - this.#feedReadAt < silenceMs) return;
    this.#feedReadAt = clock.monotonicMs();
    try {
      await this.#readFeedOnce();
    } catch (error) {
      log.warn('source is not reached', { error, source, partition });
    }
  }

  /** After a silence the watermarks are late: the feed shows what the source has published since. */
  async #watchSilence(): Promise<void> {
    const { clock, log, signal, silenceMs, source, partition } = this.#options;
    const attempts = failureLog({
      log,
      clock,
      failing: 'bus is silent and source not reached',
      back: 'source is reached again',
    });
    while (!signal.aborted) {
      const silentMs = clock.monotonicMs() - this.#receivedAt;
      await clock.sleep(Math.max(1, silenceMs - silentMs), signal);
      if (signal.aborted || clock.monotonicMs() - this.#receivedAt < silenceMs) continue;
      this.#receivedAt = clock.monotonicMs();
      try {
        await this.#serially(async () => {
          await this.#facts.refresh();
          while (await this.#readFeedOnce());
        });
        attempts.succeeded();
      } catch (error) {
        if (!signal.aborted) attempts.failed(error, { source, partition });
      }
    }
  }

  #assertSameHistory(): void {
    if (this.#restoredSince === undefined) return;
    throw new Error(
      `${this.#options.source} was restored to an earlier moment, and this service was not: restore its store to the same moment`,
    );
  }

  #noteRestore(error: unknown): never {
    const { clock, log, source, partition } = this.#options;
    if (error instanceof Rejection && error.reason === FEED_ENDS_EARLIER && this.#restoredSince === undefined) {
      this.#restoredSince = clock.now();
      log.error('the source was restored to an earlier moment and this service was not: restore it to the same one', {
        error,
        source,
        partition,
      });
    }
    throw error;
  }
}
