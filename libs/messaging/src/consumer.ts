import type { ConsumerOptions } from './consumer-options.ts';
import type { Handlers } from './handlers.ts';
import { type PartitionReader, type PartitionStatus, startPartition } from './partition.ts';
import { DEFAULT_PARTITION_COUNT } from './subjects.ts';

/** Consumes the facts of one source. */
export interface Consumer {
  readonly source: string;
  readonly handlers: Handlers;
  readonly partitionCount: number;
  /** One entry for each partition that this replica consumes. */
  status(): readonly PartitionStatus[];
  /** Messages refused since this process started: their source cannot have published them. */
  refused(): number;
  /** Stops after the facts in progress; facts that are not applied are delivered again. With `keep`, its owner ends the work. */
  stop(): Promise<void>;
}

const ATTEMPTS_MAX = 8;
const SILENCE_MS = 5_000;

/**
 * Applies the facts of one source: each takes effect exactly once, in the order of its stream (G7), even if the bus loses,
 * duplicates or reorders messages. Partitions are independent; one replica at a time consumes each of them.
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
  const consume = async (partition: number, signal: AbortSignal): Promise<void> => {
    const reader = startPartition({ ...options, partition, partitionCount, maxAttempts, silenceMs, signal, onRefused });
    readers.set(partition, reader);
    await reader.done;
    readers.delete(partition);
  };
  for (let partition = 0; partition < partitionCount; partition += 1) {
    keep(`facts of ${options.source}/${partition}`, (signal) => consume(partition, signal));
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
