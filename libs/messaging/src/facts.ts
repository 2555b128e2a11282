import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { RecordedEvent } from '@interlock/event-store';

/** An event in the form in which other services receive it. */
export interface PublishedFact {
  /** Name of the message inside the payload, for example `KeyVersionDisabled`. */
  readonly type: string;
  /** The encoded `<Service>Event` message. */
  readonly payload: Uint8Array;
}

/**
 * Renders a stored event as a fact; null for an event that is not published. Pure. The relay does not skip an event that cannot be
 * rendered, so every later event waits.
 * @throws Error `unknownEvent` for a type of event that this release does not know
 */
export type ToFact = (recorded: RecordedEvent) => PublishedFact | null;

/**
 * The failure of `toFact` for an event of a newer release, which runs together with this one or ran before a downgrade. Only that release
 * knows whether the event is published. Facts published behind it would make consumers skip it for good (G7), so publishing waits
 * for that release.
 * @param event `never`, so that the compiler checks that all known types are handled
 */
export const unknownEvent = (event: never): Error => {
  const { type } = event as { readonly type: string };
  return new Error(`this release does not know the event ${type} of a newer release: run a release that knows it`);
};

/** A stored event as a fact, or null when it is not published. */
export const renderFact = (recorded: RecordedEvent, toFact: ToFact): Fact | null => {
  const published = toFact(recorded);
  if (published === null) return null;
  return {
    position: recorded.position,
    stream: recorded.stream,
    version: recorded.version,
    eventTime: new Date(recorded.time),
    type: published.type,
    payload: published.payload,
    correlationId: recorded.cause.correlationId,
    causes: [...recorded.cause.causes],
    caller: recorded.cause.caller,
    traceparent: recorded.cause.traceparent ?? '',
    tracestate: recorded.cause.tracestate,
    baggage: recorded.cause.baggage,
  };
};

/** Facts of a part of the feed, up to an event that cannot be rendered. */
export interface Rendered {
  readonly facts: readonly Fact[];
  /** Position of the last rendered event; absent without one. */
  readonly to?: number;
  /** Why rendering stopped before the end. */
  readonly failure?: { readonly error: unknown };
}

/** Renders events up to the first one that cannot be rendered. */
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

/** The same for a cause: its kind, tags and lengths. */
const CAUSE_OVERHEAD_BYTES = 16;

/** Upper bound of the bytes of a fact in a batch. */
export const factBytes = (fact: Fact): number =>
  fact.payload.byteLength +
  Buffer.byteLength(fact.stream) +
  Buffer.byteLength(fact.caller) +
  Buffer.byteLength(fact.type) +
  Buffer.byteLength(fact.correlationId) +
  fact.causes.reduce((sum, { id }) => sum + Buffer.byteLength(id) + CAUSE_OVERHEAD_BYTES, 0) +
  Buffer.byteLength(fact.traceparent) +
  Buffer.byteLength(fact.tracestate ?? '') +
  Buffer.byteLength(fact.baggage ?? '') +
  FACT_OVERHEAD_BYTES;
