import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { EventStore } from '@interlock/event-store';
import type { PartitionProgress } from './batches.ts';
import type { Bus } from './bus.ts';
import { subjectOf } from './subjects.ts';

/** Cursor of the relay in its own store: the bus has acknowledged everything up to it. */
export const RELAY_CURSOR = 'relay';

/** Where a relay continues, as far as bus and cursor agree. */
export interface PublishedProgress {
  readonly cursor: number;
  readonly progress: PartitionProgress[];
}

/**
 * Finds out for each partition what need not be published again: up to the relay's cursor, but never more than the newest message
 * that the bus really holds, because a bus may lose what it acknowledged.
 *
 * A partition without messages on the bus continues at the cursor and does not publish its history again: the next watermark shows
 * every consumer what it misses, and it reads that from the feed. So new facts do not queue behind old ones.
 * @throws Error when the bus belongs to another history than the store (a restored store, another partition count)
 */
export const readPublishedProgress = async (
  source: { readonly service: string; readonly partitionCount: number },
  { store, bus }: { readonly store: EventStore; readonly bus: Bus },
): Promise<PublishedProgress> => {
  const cursor = await store.cursor(RELAY_CURSOR);
  const partitions = Array.from({ length: source.partitionCount }, (_, partition) => partition);
  const held = await Promise.all(partitions.map((partition) => bus.lastMessage(subjectOf(source.service, partition))));
  const head = await store.head();
  const progress = held.map((bytes) => {
    if (bytes === undefined) return { publishedTo: cursor, previous: cursor };
    const batch = FactBatch.decode(bytes);
    assertSameHistory(batch, source.partitionCount, head);
    const publishedTo = Math.min(batch.lastPosition, cursor);
    const lastFact = batch.facts.at(-1)?.position ?? batch.previousPosition;
    return { publishedTo, previous: Math.min(lastFact, publishedTo) };
  });
  return { cursor, progress };
};

const assertSameHistory = (batch: FactBatch, partitionCount: number, head: number): void => {
  if (batch.partitionCount !== partitionCount) {
    throw new Error(
      `the bus holds facts of ${batch.source} in ${batch.partitionCount} partitions, this service is configured for ` +
        `${partitionCount}: keep the number, or start with an empty bus and empty consumers`,
    );
  }
  if (batch.lastPosition > head) {
    throw new Error(
      `the bus holds position ${batch.lastPosition} of ${batch.source}, but its store ends at ${head}: the store was restored ` +
        'to an earlier moment, and the bus holds facts that the restore removed. Give every service a new NATS_NAMESPACE',
    );
  }
};
