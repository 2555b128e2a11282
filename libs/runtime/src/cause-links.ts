import type { Attributes, Link, SpanContext } from '@opentelemetry/api';
import { DomainAttribute } from './attributes.ts';

/** A cause of events that a span stores: an event that another span stored. */
export interface SpanCause {
  /** The span that stored the cause. */
  readonly span: SpanContext;
  /** Id of the cause. */
  readonly cause: string;
  /** Ids of the events that follow from it. */
  readonly events: readonly string[];
}

/** Events of a span up to which its links list causes: for a fleet the lists would be most of the export. */
const LISTED_MAX = 512;

/**
 * Links of a span that stores events to the spans that stored their causes, one for each such span. `interlock.cause.ids` lists the
 * causes; `interlock.event.ids` the event that follows from each, unless every event of the span follows from every one. A span
 * with more than 512 events has links without these lists.
 * @param eventCount number of events that the span stores
 */
export const causeLinks = (causes: readonly SpanCause[], eventCount: number): readonly Link[] => {
  const bySpan = new Map<string, SpanCause[]>();
  for (const cause of causes) {
    const { spanId } = cause.span;
    const found = bySpan.get(spanId);
    if (found === undefined) bySpan.set(spanId, [cause]);
    else if (eventCount <= LISTED_MAX) found.push(cause);
  }
  return [...bySpan.values()].flatMap((all) => {
    const context = all[0]?.span;
    if (context === undefined) return [];
    return [eventCount <= LISTED_MAX ? { context, attributes: listsOf(all, eventCount) } : { context }];
  });
};

const listsOf = (causes: readonly SpanCause[], eventCount: number): Attributes => {
  const pairs = causes.flatMap(({ cause, events }) => events.map((event) => ({ cause, event })));
  const distinct = new Set(pairs.map(({ cause }) => cause));
  if (pairs.length === distinct.size * eventCount) return { [DomainAttribute.causes]: [...distinct] };
  return {
    [DomainAttribute.causes]: pairs.map(({ cause }) => cause),
    [DomainAttribute.events]: pairs.map(({ event }) => event),
  };
};
