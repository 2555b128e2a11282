import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { EventStore } from '@interlock/event-store';
import type { PartitionProgress } from './batches.ts';
import type { Bus } from './bus.ts';
import { subjectOf } from './subjects.ts';

/** Cursor of the relay in its own store: everything up to it was acknowledged by the bus. */
export const RELAY_CURSOR = 'relay';

/** Where a relay goes on, as far as bus and cursor agree. */
export interface ToldSoFar {
  readonly cursor: number;
  readonly progress: PartitionProgress[];
}

/**
 * Finds out per partition what need not be told again: what the relay's cursor says, but never more than the newest
 * message the bus really holds, for a bus may forget what it acknowledged.
 *
 * A partition of which the bus holds nothing goes on at the cursor, without telling its history again: the next
 * watermark shows every consumer what it misses, and it reads that from the feed. New facts do not queue behind old.
 * @throws Error when the bus belongs to another history than the store (a restored store, another partition count)
 */
export const toldSoFar = async (
  source: { readonly service: string; readonly partitionCount: number },
  { store, bus }: { readonly store: EventStore; readonly bus: Bus },
): Promise<ToldSoFar> => {
  const cursor = await store.cursor(RELAY_CURSOR);
  const partitions = Array.from({ length: source.partitionCount }, (_, partition) => partition);
  const held = await Promise.all(partitions.map((partition) => bus.lastMessage(subjectOf(source.service, partition))));
  const head = await store.head();
  const progress = held.map((bytes) => {
    if (bytes === undefined) return { toldTo: cursor, previous: cursor };
    const batch = FactBatch.decode(bytes);
    assertSameHistory(batch, source.partitionCount, head);
    const toldTo = Math.min(batch.lastPosition, cursor);
    const lastFact = batch.facts.at(-1)?.position ?? batch.previousPosition;
    return { toldTo, previous: Math.min(lastFact, toldTo) };
  });
  return { cursor, progress };
};

const assertSameHistory = (batch: FactBatch, partitionCount: number, head: number): void => {
  if (batch.partitionCount !== partitionCount) {
    throw new Error(
      `the bus holds facts of ${batch.source} in ${batch.partitionCount} partitions, this service is configured for ` +
        `${partitionCount}: keep the number, or begin with an empty bus and empty consumers`,
    );
  }
  if (batch.lastPosition > head) {
    throw new Error(
      `the bus holds position ${batch.lastPosition} of ${batch.source}, but its store ends at ${head}: the store was restored ` +
        'to an earlier moment, and the bus holds facts that were taken back. Give every service a new NATS_NAMESPACE',
    );
  }
};
