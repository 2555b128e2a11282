import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { factBytes } from './facts.ts';
import { partitionOf } from './subjects.ts';

/** How far one partition was told. */
export interface PartitionProgress {
  /** Facts up to here are not told (again). */
  readonly toldTo: number;
  /** A position with no told fact of the partition between it and the next one to be told. */
  readonly previous: number;
}

/** Where the batches of a service begin and how large they may become. */
export interface BatchShape {
  readonly source: string;
  readonly partitionCount: number;
  /** A batch of several facts stays below this. */
  readonly batchBytes: number;
}

/**
 * Groups facts of one run of the feed by partition, cut to size, in the order of their first facts. Facts a partition
 * has already told are left out. `progress`, one entry per partition, moves behind what was grouped.
 */
export const batchesOf = (facts: readonly Fact[], progress: PartitionProgress[], shape: BatchShape): FactBatch[] => {
  const batches: FactBatch[] = [];
  const open = new Map<number, { readonly batch: FactBatch; bytes: number }>();
  let stream: string | undefined;
  let partition = 0;
  for (const fact of facts) {
    // What is decided about a stream in one go stands side by side.
    if (fact.stream !== stream) partition = partitionOf(fact.stream, shape.partitionCount);
    stream = fact.stream;
    const { toldTo, previous } = progress[partition] ?? { toldTo: 0, previous: 0 };
    if (fact.position <= toldTo) continue;
    const bytes = factBytes(fact);
    let current = open.get(partition);
    if (!current || current.bytes + bytes > shape.batchBytes) {
      current = { batch: emptyBatch(shape, partition, previous, fact.position), bytes: 0 };
      open.set(partition, current);
      batches.push(current.batch);
    }
    current.batch.facts.push(fact);
    current.batch.lastPosition = fact.position;
    current.bytes += bytes;
    progress[partition] = { toldTo: fact.position, previous: fact.position };
  }
  return batches;
};

const emptyBatch = (
  { source, partitionCount }: Omit<BatchShape, 'batchBytes'>,
  partition: number,
  previousPosition: number,
  firstPosition: number,
): FactBatch => ({
  source,
  partition,
  partitionCount,
  previousPosition,
  firstPosition,
  lastPosition: firstPosition,
  facts: [],
});

/** A batch without facts: every told fact of the partition up to `position` is out, the last of them at `previous`. */
export const watermarkOf = (
  shape: Omit<BatchShape, 'batchBytes'>,
  partition: number,
  previous: number,
  position: number,
): FactBatch => emptyBatch(shape, partition, previous, position);

/** Message id of a batch, `<service>:<partition>:<first>-<last>`: the same facts told again within moments are dropped. */
export const messageIdOf = (batch: FactBatch): string =>
  `${batch.source}:${batch.partition}:${batch.firstPosition}-${batch.lastPosition}`;

/**
 * Joins batches that follow each other without a hole, for whoever takes in several that arrived while it was busy: as long
 * as they hold at most so many facts together. Watermarks stay by themselves.
 * @returns in the same order, each with what it is made of
 */
export const batchesTogether = <Received extends { readonly batch: FactBatch }>(
  received: readonly Received[],
  factsMax: number,
): readonly { readonly batch: FactBatch; readonly of: readonly Received[] }[] => {
  const joined: { batch: FactBatch; of: Received[] }[] = [];
  for (const one of received) {
    const last = joined.at(-1);
    if (last && goesOn(last.batch, one.batch) && last.batch.facts.length + one.batch.facts.length <= factsMax) {
      const facts = [...last.batch.facts, ...one.batch.facts];
      last.batch = { ...last.batch, lastPosition: one.batch.lastPosition, facts };
      last.of.push(one);
    } else {
      joined.push({ batch: one.batch, of: [one] });
    }
  }
  return joined;
};

const goesOn = (before: FactBatch, after: FactBatch): boolean =>
  before.facts.length > 0 &&
  after.facts.length > 0 &&
  after.previousPosition <= before.lastPosition &&
  after.firstPosition > before.lastPosition;
