import type { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { EventStore } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Bus } from './bus.ts';
import type { Handlers } from './handlers.ts';
import type { Keep } from './keep.ts';
import { type PartitionReader, type PartitionStatus, startPartition } from './partition.ts';
import { DEFAULT_PARTITION_COUNT } from './subjects.ts';

/** Asks the source for told facts of one partition after a position: its `ReadFeed`. @throws when it is not reached */
export type ReadFeed = (request: {
  readonly source: string;
  readonly partition: number;
  readonly partitionCount: number;
  readonly afterPosition: number;
  readonly signal: AbortSignal;
}) => Promise<FactBatch>;

export interface ConsumerOptions {
  /** The service that consumes, for example `disk-encryption-set`. */
  readonly service: string;
  /** The service that tells, for example `key-vault`. */
  readonly source: string;
  /** Categories of the streams whose events the source publishes: `vault` for `vault-…`. A fact of another stream is refused. */
  readonly categories: readonly string[];
  readonly handlers: Handlers;
  readonly readFeed: ReadFeed;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Divides the partitions among the replicas of the service; by default there is but this one. */
  readonly keep?: Keep;
  /** As the source has it; default 4. */
  readonly partitionCount?: number;
  /** Attempts after which a fact with an unknown error is parked; default 8, about ten seconds. */
  readonly maxAttempts?: number;
  /** After this long without a message, watermarks included, the source is asked; default 5,000. */
  readonly silenceMs?: number;
}

/** What one service hears from another. */
export interface Consumer {
  readonly source: string;
  readonly handlers: Handlers;
  readonly partitionCount: number;
  /** One entry per partition that this replica hears. */
  status(): readonly PartitionStatus[];
  /** Messages refused for good since this process started: their source cannot have published them. */
  refused(): number;
  /** Stops after the facts in hand; what is not applied comes again. Where `keep` is given, whoever gave it ends the work. */
  stop(): Promise<void>;
}

const ATTEMPTS_MAX = 8;
const SILENCE_MS = 5_000;

/**
 * Takes in the facts of one source: each takes effect exactly once, in the order of its stream (G7), whatever the bus
 * loses, doubles or reorders. Partitions go on independently of each other; one replica hears each of them at a time.
 */
export const startConsumer = (options: ConsumerOptions): Consumer => {
  const { partitionCount = DEFAULT_PARTITION_COUNT, maxAttempts = ATTEMPTS_MAX, silenceMs = SILENCE_MS } = options;
  const stopping = new AbortController();
  const alone: Promise<void>[] = [];
  const { keep = (_, work) => void alone.push(work(stopping.signal)) } = options;
  let refused = 0;
  const onRefused = (): void => {
    refused += 1;
  };
  const readers = new Map<number, PartitionReader>();
  const hear = async (partition: number, signal: AbortSignal): Promise<void> => {
    const reader = startPartition({ ...options, partition, partitionCount, maxAttempts, silenceMs, signal, onRefused });
    readers.set(partition, reader);
    await reader.done;
    readers.delete(partition);
  };
  for (let partition = 0; partition < partitionCount; partition += 1) {
    keep(`facts of ${options.source}/${partition}`, (signal) => hear(partition, signal));
  }
  return {
    source: options.source,
    handlers: options.handlers,
    partitionCount,
    refused: () => refused,
    status: () => [...readers.values()].map((reader) => reader.status()),
    async stop() {
      stopping.abort();
      await Promise.all(alone);
    },
  };
};
