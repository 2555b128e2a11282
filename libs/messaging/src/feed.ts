import type { Fact, FactBatch, ReadFeedRequest } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, Rejection } from '@interlock/event-store';
import { factBytes, renderFact, type ToFact } from './facts.ts';
import { partitionOf } from './subjects.ts';

const LIMIT_DEFAULT = 500;
const LIMIT_MAX = 1_000;
/** A response with several facts stays below this. */
export const RESPONSE_BYTES_MAX = 1024 * 1024;
/** Events read at once. */
const RUN_LENGTH = 1_000;
/** Most events examined for one response: the caller continues with another call, and other calls run in between. */
const EVENTS_MAX = 20_000;

export interface FeedOptions {
  readonly service: string;
  readonly partitionCount: number;
  readonly store: EventStore;
  readonly toFact: ToFact;
}

/**
 * Reads the published facts of one partition after a position from the store. The response contains every fact up to its
 * `lastPosition`; the next call continues there. A response with `lastPosition` equal to `afterPosition` has reached the end.
 * @throws Rejection INVALID_PARTITION, INVALID_LIMIT, INVALID_POSITION; OUT_OF_RANGE FEED_ENDS_EARLIER for a position beyond
 *   the end of the store: a restore removed events that the caller has applied
 */
export const readFeed = async (options: FeedOptions, request: ReadFeedRequest): Promise<FactBatch> => {
  assertReadable(options, request);
  const { service, partitionCount, store, toFact } = options;
  const { partition, afterPosition } = request;
  const limit = request.limit || LIMIT_DEFAULT;
  const facts: Fact[] = [];
  let bytes = 0;
  let readTo = afterPosition;
  const response = (): FactBatch => ({
    source: service,
    partition,
    partitionCount,
    previousPosition: afterPosition,
    firstPosition: facts[0]?.position ?? readTo,
    lastPosition: readTo,
    facts,
  });
  while (readTo - afterPosition < EVENTS_MAX) {
    const run = await store.feed(readTo, RUN_LENGTH);
    for (const recorded of run) {
      const isOurs = partitionOf(recorded.stream, partitionCount) === partition;
      let fact: Fact | null = null;
      try {
        fact = isOurs ? renderFact(recorded, toFact) : null;
      } catch (error) {
        // The response ends before it; the next one starts with it.
        if (readTo === afterPosition) throw error;
        return response();
      }
      if (fact) {
        bytes += factBytes(fact);
        if (facts.length > 0 && bytes > RESPONSE_BYTES_MAX) return response();
        facts.push(fact);
      }
      readTo = recorded.position;
      if (facts.length === limit) return response();
    }
    if (run.length === 0 && readTo === afterPosition) await assertReached(store, service, afterPosition);
    if (run.length < RUN_LENGTH) break;
  }
  return response();
};

/**
 * Checks a position against the end of the store. @returns the position of its newest event
 * @throws Rejection OUT_OF_RANGE FEED_ENDS_EARLIER for a position beyond it
 */
export const assertReached = async (store: EventStore, service: string, position: number): Promise<number> => {
  const head = await store.head();
  if (position <= head) return head;
  throw new Rejection(
    'OUT_OF_RANGE',
    FEED_ENDS_EARLIER,
    `after_position: the feed of ${service} ends at ${head}, before ${position}: its store was restored to an earlier moment`,
    { after_position: String(position), head: String(head) },
  );
};

/** Reason of the refusal when the feed ends before the cursor of its reader; `head` of the metadata is the end. */
export const FEED_ENDS_EARLIER = 'FEED_ENDS_EARLIER';

const assertReadable = ({ partitionCount }: FeedOptions, request: ReadFeedRequest): void => {
  const { partition, afterPosition, limit } = request;
  if (request.partitionCount !== partitionCount) {
    const message = `partition_count must be ${partitionCount}, the number of this service, not ${request.partitionCount}`;
    throw new Rejection('INVALID_ARGUMENT', 'INVALID_PARTITION', message, {
      partition_count: String(request.partitionCount),
    });
  }
  if (!Number.isInteger(partition) || partition < 0 || partition >= partitionCount) {
    const message = `partition must be from 0 to ${partitionCount - 1}, not ${partition}`;
    throw new Rejection('INVALID_ARGUMENT', 'INVALID_PARTITION', message, { partition: String(partition) });
  }
  assertPosition(afterPosition);
  if (!Number.isInteger(limit) || limit < 0 || limit > LIMIT_MAX) {
    const message = `limit must be from 1 to ${LIMIT_MAX}, or 0 for ${LIMIT_DEFAULT}, not ${limit}`;
    throw new Rejection('INVALID_ARGUMENT', 'INVALID_LIMIT', message, { limit: String(limit) });
  }
};

/** @throws Rejection INVALID_POSITION unless it is 0 or may be a position */
export const assertPosition = (afterPosition: number): void => {
  if (Number.isSafeInteger(afterPosition) && afterPosition >= 0) return;
  const message = `after_position must be 0 or a position, not ${afterPosition}`;
  throw new Rejection('INVALID_ARGUMENT', 'INVALID_POSITION', message, { after_position: String(afterPosition) });
};
