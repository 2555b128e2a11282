import type { Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { factBytes } from './facts.ts';
import { partitionOf } from './subjects.ts';

/** How far one partition is published. */
export interface PartitionProgress {
  /** Facts up to here are not published again. */
  readonly publishedTo: number;
  /** A position without facts of the partition between it and the next one. */
  readonly previous: number;
}

/** Source and size of the batches of a service. */
export interface BatchShape {
  readonly source: string;
  readonly partitionCount: number;
  /** A batch of several facts stays below this. */
  readonly batchBytes: number;
}

/**
 * Groups facts of one run of the feed into batches by partition, limited in size, in the order of their first facts. Facts that a
 * partition has already published are left out. `progress`, one entry per partition, moves behind the grouped facts.
 */
export const batchesOf = (facts: readonly Fact[], progress: PartitionProgress[], shape: BatchShape): FactBatch[] => {
  const batches: FactBatch[] = [];
  const open = new Map<number, { readonly batch: FactBatch; bytes: number }>();
  let stream: string | undefined;
  let partition = 0;
  for (const fact of facts) {
    // Events of one commit to a stream are adjacent.
    if (fact.stream !== stream) partition = partitionOf(fact.stream, shape.partitionCount);
    stream = fact.stream;
    const { publishedTo, previous } = progress[partition] ?? { publishedTo: 0, previous: 0 };
    if (fact.position <= publishedTo) continue;
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
    progress[partition] = { publishedTo: fact.position, previous: fact.position };
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

/** A batch without facts: every fact of the partition up to `position` is published, the last of them at `previous`. */
export const watermarkOf = (
  shape: Omit<BatchShape, 'batchBytes'>,
  partition: number,
  previous: number,
  position: number,
): FactBatch => emptyBatch(shape, partition, previous, position);

/** Message id of a batch, `<service>:<partition>:<first>-<last>`: the bus drops the same facts published again within minutes. */
export const messageIdOf = (batch: FactBatch): string =>
  `${batch.source}:${batch.partition}:${batch.firstPosition}-${batch.lastPosition}`;

/**
 * Joins batches that follow each other without a gap, up to `factsMax` facts, for a consumer that applies several at once.
 * Watermarks are not joined.
 * @returns the joined batches in the same order, each with its parts
 */
export const joinBatches = <Received extends { readonly batch: FactBatch }>(
  received: readonly Received[],
  factsMax: number,
): readonly { readonly batch: FactBatch; readonly of: readonly Received[] }[] => {
  const joined: { batch: FactBatch; of: Received[] }[] = [];
  for (const one of received) {
    const last = joined.at(-1);
    if (last && isNext(last.batch, one.batch) && last.batch.facts.length + one.batch.facts.length <= factsMax) {
      const facts = [...last.batch.facts, ...one.batch.facts];
      last.batch = { ...last.batch, lastPosition: one.batch.lastPosition, facts };
      last.of.push(one);
    } else {
      joined.push({ batch: one.batch, of: [one] });
    }
  }
  return joined;
};

const isNext = (before: FactBatch, after: FactBatch): boolean =>
  before.facts.length > 0 &&
  after.facts.length > 0 &&
  after.previousPosition <= before.lastPosition &&
  after.firstPosition > before.lastPosition;
