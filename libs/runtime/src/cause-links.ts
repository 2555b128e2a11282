import type { Attributes, Link, Span, SpanContext } from '@opentelemetry/api';
import { DomainAttribute } from './attributes.ts';

/** A cause of events: an event that another span stored. */
export interface SpanCause {
  /** The span that stored it. */
  readonly span: SpanContext;
  /** Its id. */
  readonly id: string;
}

/** A piece of work that shares a span with others. */
export interface SpanPart {
  /** Ids of its events. */
  readonly events: readonly string[];
  /** Causes of these events. */
  readonly causes: readonly SpanCause[];
}

/** Most pieces of work of a span with a span event each: the default limit of the SDKs. */
export const PARTS_MAX = 128;

/** Name of these span events. */
const PART = 'part';

/**
 * Links of a span that stores events to the spans that stored their causes, one for each such span. If the span has one part, its
 * links list the causes: `interlock.cause.ids`. Otherwise its span events do (`addParts`).
 */
export const causeLinks = (parts: readonly SpanPart[]): readonly Link[] => {
  const bySpan = new Map<string, { readonly context: SpanContext; readonly ids: string[] }>();
  for (const { causes } of parts)
    for (const { span, id } of causes) {
      const found = bySpan.get(span.spanId);
      if (found === undefined) bySpan.set(span.spanId, { context: span, ids: [id] });
      else if (parts.length === 1) found.ids.push(id);
    }
  return [...bySpan.values()].map(({ context, ids }) =>
    parts.length === 1 ? { context, attributes: { [DomainAttribute.causes]: ids } } : { context },
  );
};

/** Adds a span event for each part of a shared span, with its events and their causes; none if there are more than `PARTS_MAX`. */
export const addParts = (span: Span, parts: readonly SpanPart[]): void => {
  if (parts.length < 2 || parts.length > PARTS_MAX) return;
  for (const { events, causes } of parts) {
    const attributes: Attributes = { [DomainAttribute.events]: [...events] };
    if (causes.length > 0) attributes[DomainAttribute.causes] = causes.map(({ id }) => id);
    span.addEvent(PART, attributes);
  }
};
