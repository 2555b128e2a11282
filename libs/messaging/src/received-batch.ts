import { type Fact, FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { partitionOf } from './subjects.ts';

/** A message that its source cannot have published, or that is meant for another consumer. It is never delivered again. */
export class RefusedMessage extends Error {
  override readonly name = 'RefusedMessage';
}

/** The partition of a source that a consumer reads. */
export interface ConsumedPartition {
  readonly source: string;
  readonly partition: number;
  readonly partitionCount: number;
  /** Categories of the streams that the source publishes. */
  readonly categories: readonly string[];
}

/** @throws RefusedMessage for bytes that are no batch */
export const decodeBatch = (bytes: Uint8Array): FactBatch => {
  try {
    return FactBatch.decode(bytes);
  } catch (cause) {
    throw new RefusedMessage('the message is no batch of facts', { cause });
  }
};

/** @throws RefusedMessage for a batch of another partition, and for one that the source cannot have published */
export const assertPublishable = (batch: FactBatch, expected: ConsumedPartition): void => {
  const { source, partition, partitionCount, categories } = expected;
  const isExpected =
    batch.source === source && batch.partition === partition && batch.partitionCount === partitionCount;
  if (!isExpected) {
    throw new RefusedMessage(
      `expected facts of ${source}, partition ${partition} of ${partitionCount}, got facts of ${batch.source}, ` +
        `partition ${batch.partition} of ${batch.partitionCount}: configure both sides with the same number`,
    );
  }
  const misplaced = misplacedFact(batch, categories);
  if (misplaced !== undefined) {
    throw new RefusedMessage(
      `fact at position ${misplaced.position} of stream ${misplaced.stream}, version ${misplaced.version}, cannot be from partition ` +
        `${partition} of ${source}, which publishes ${categories.join(', ')}, up to position ${batch.lastPosition}`,
    );
  }
};

/** The first fact of a batch that is out of order, or of a stream that its source does not publish in that partition. */
const misplacedFact = (batch: FactBatch, categories: readonly string[]): Fact | undefined => {
  let previous = batch.previousPosition;
  for (const fact of batch.facts) {
    const isOfSource = categories.some((category) => fact.stream.startsWith(`${category}-`));
    const isInOrder = fact.position > previous && fact.position <= batch.lastPosition;
    if (!isOfSource || !isInOrder || partitionOf(fact.stream, batch.partitionCount) !== batch.partition) return fact;
    previous = fact.position;
  }
  return undefined;
};
