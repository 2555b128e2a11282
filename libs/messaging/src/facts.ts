import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { RecordedEvent } from '@interlock/event-store';

/** The outside form of an event: what other services hear of it. */
export interface ToldFact {
  /** Name of the message inside the payload, for example `KeyVersionDisabled`. */
  readonly type: string;
  /** The encoded `<Service>Event` message. */
  readonly payload: Uint8Array;
}

/**
 * Renders a stored event for others; null: it is ours alone. Pure and total: the relay cannot pass over an event that
 * it fails for, so everything behind it would wait.
 */
export type ToFact = (recorded: RecordedEvent) => ToldFact | null;

/** A stored event as a fact, or null when it is not told. */
export const renderFact = (recorded: RecordedEvent, toFact: ToFact): Fact | null => {
  const told = toFact(recorded);
  if (told === null) return null;
  return {
    position: recorded.position,
    eventId: recorded.id,
    stream: recorded.stream,
    version: recorded.version,
    eventTime: new Date(recorded.time),
    type: told.type,
    payload: told.payload,
    correlationId: recorded.cause.correlationId,
    causationId: recorded.cause.causationId,
    caller: recorded.cause.caller,
    traceparent: recorded.cause.traceparent ?? '',
  };
};

/** Upper bound of what protobuf adds to the texts and bytes of a fact: tags, lengths, numbers and the time. */
const FACT_OVERHEAD_BYTES = 80;

/** How many bytes a fact takes in a batch, at most. */
export const factBytes = (fact: Fact): number =>
  fact.payload.byteLength +
  Buffer.byteLength(fact.stream) +
  Buffer.byteLength(fact.caller) +
  Buffer.byteLength(fact.type) +
  Buffer.byteLength(fact.eventId) +
  Buffer.byteLength(fact.correlationId) +
  Buffer.byteLength(fact.causationId) +
  Buffer.byteLength(fact.traceparent) +
  FACT_OVERHEAD_BYTES;
