import type { ReadEventsResponse, StoredEvent } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type EventStore, type RecordedEvent, readableData } from '@interlock/event-store';
import { assertPosition, assertReached, RESPONSE_BYTES_MAX } from './feed.ts';

/** Whose events are read, and which of their fields. */
export interface StoredEventsOptions {
  readonly service: string;
  readonly store: EventStore;
  /** Fields that may be read, of streams of a category; by default none. */
  readonly readable?: ((category: string) => readonly string[]) | undefined;
}

/** Which events to read: at most `limit` after a position. */
export interface EventPage {
  readonly after: number;
  readonly limit: number;
}

/**
 * Reads stored events for operators, without fields that may hold a secret.
 * @throws Rejection INVALID_POSITION; OUT_OF_RANGE FEED_ENDS_EARLIER for a position beyond the end of the store
 */
export const readEvents = async (
  { store, service, readable }: StoredEventsOptions,
  { after, limit }: EventPage,
): Promise<ReadEventsResponse> => {
  assertPosition(after);
  const recorded = await store.feed(after, limit);
  const events: StoredEvent[] = [];
  let bytes = 0;
  for (const one of recorded) {
    const event = storedEvent(one, readable?.(categoryOf(one)) ?? []);
    // Protobuf is never longer than JSON, but for numbers: 8 bytes each.
    bytes += 2 * Buffer.byteLength(JSON.stringify([event.stream, event.data, event.meta]));
    if (events.length > 0 && bytes > RESPONSE_BYTES_MAX) break;
    events.push(event);
  }
  return { events, headPosition: await assertReached(store, service, after) };
};

/** An event as `ReadEvents` returns it. @param readable as in `readableData` */
const storedEvent = (recorded: RecordedEvent, readable: readonly string[]): StoredEvent => {
  const { position, id, stream, version, type, schema, time, cause } = recorded;
  const { data, withheld } = readableData(recorded.data, readable);
  const { tracker: _, ...meta } = cause;
  return {
    position,
    eventId: id,
    stream,
    version,
    eventTime: new Date(time),
    type,
    schema,
    data,
    withheld: [...withheld],
    meta,
  };
};

const categoryOf = ({ stream }: RecordedEvent): string => stream.slice(0, stream.indexOf('-'));
