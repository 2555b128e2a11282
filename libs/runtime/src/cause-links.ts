import type { Link, SpanContext } from '@opentelemetry/api';
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

/**
 * Links of a span that stores events to the spans that stored their causes, one for each such span. `interlock.cause.ids` lists the
 * causes; `interlock.event.ids` the event that follows from each, unless every event of the span follows from every one.
 * @param eventCount number of events that the span stores
 */
export const causeLinks = (causes: readonly SpanCause[], eventCount: number): readonly Link[] =>
  [...Map.groupBy(causes, ({ span }) => `${span.traceId}${span.spanId}`).values()].flatMap((all) => {
    const context = all[0]?.span;
    if (context === undefined) return [];
    const pairs = all.flatMap(({ cause, events }) => events.map((event) => ({ cause, event })));
    const distinct = new Set(pairs.map(({ cause }) => cause));
    if (pairs.length === distinct.size * eventCount)
      return [{ context, attributes: { [DomainAttribute.causes]: [...distinct] } }];
    const attributes = {
      [DomainAttribute.causes]: pairs.map(({ cause }) => cause),
      [DomainAttribute.events]: pairs.map(({ event }) => event),
    };
    return [{ context, attributes }];
  });
