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
 * Renders a stored event for others; null: it is ours alone. Pure, and total but for what it does not know: the relay cannot pass over
 * an event that it fails for, so everything behind it waits.
 * @throws Error `unknownEvent`
 */
export type ToFact = (recorded: RecordedEvent) => ToldFact | null;

/**
 * What `toFact` fails with for a type of event that its release does not know: a newer one has stored it, beside this one or before this
 * one took its place again. Whether others have to hear of it only that release can say. Whatever was told behind it would have its
 * readers pass over it for good (G7), so telling waits for that release.
 * @param event of whose types all are dealt with, as the compiler sees
 */
export const unknownEvent = (event: never): Error => {
  const { type } = event as { readonly type: string };
  return new Error(`this release does not know the event ${type}: a newer one has stored it, and has to tell it`);
};

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

/** Facts of a run of the feed, up to an event that cannot be rendered. */
export interface Rendered {
  readonly facts: readonly Fact[];
  /** Position of the last event they take into account; absent where there is none. */
  readonly to?: number;
  /** Why it is not the last of the run. */
  readonly failure?: { readonly error: unknown };
}

/** Renders a run: what lies before an event that cannot be rendered need not wait with it. */
export const renderRun = (run: readonly RecordedEvent[], toFact: ToFact): Rendered => {
  const facts: Fact[] = [];
  let to: number | undefined;
  const rendered = (): Rendered => (to === undefined ? { facts } : { facts, to });
  for (const recorded of run) {
    try {
      const fact = renderFact(recorded, toFact);
      if (fact) facts.push(fact);
    } catch (error) {
      return { ...rendered(), failure: { error } };
    }
    to = recorded.position;
  }
  return rendered();
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
