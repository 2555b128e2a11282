import { labelAttributes } from '../format/labels.ts';
import { listOf, type PlacedSpan } from '../format/otlp.ts';

/** Spans by id, with the references of each. */
export interface SpanGraph {
  readonly spans: ReadonlyMap<string, PlacedSpan>;
  /** The key of a span, `<trace id>:<span id>`. */
  parentOf(key: string): string | undefined;
  linksOf(key: string): readonly string[];
  /** The causes of an event that the labels of its span name; only those whose spans exist. Empty without labels. */
  causesOf(key: string, event: string): readonly string[];
}

const { causes: CAUSES, events: EVENTS } = labelAttributes;

/** Which references between spans are followed. */
export type Following = 'parents' | 'links' | 'both';

/** The key of a span. */
export const spanKey = ({ traceId, spanId }: { readonly traceId: string; readonly spanId: string }): string =>
  `${traceId}:${spanId}`;

/** Indexes spans. References to missing spans are kept: a walk ends at them. */
export const spanGraph = (all: readonly PlacedSpan[]): SpanGraph => {
  const spans = new Map(all.map((span) => [spanKey(span), span]));
  return {
    spans,
    parentOf(key) {
      const span = spans.get(key);
      return span?.parentSpanId ? spanKey({ traceId: span.traceId, spanId: span.parentSpanId }) : undefined;
    },
    linksOf: (key) => (spans.get(key)?.links ?? []).map(spanKey),
    causesOf(key, event) {
      const { links = [], events = [] } = spans.get(key) ?? {};
      const part = events.find(({ attributes }) => listOf(attributes, EVENTS).includes(event));
      const first = firstOf(listOf((part ?? spans.get(key))?.attributes, EVENTS), event);
      if (first !== undefined && first !== event) return [first];
      return links.flatMap((link) => {
        const linked = spans.get(spanKey(link));
        if (linked === undefined) return [];
        if (part === undefined) return listOf(link.attributes, CAUSES);
        const stored = listOf(linked.attributes, EVENTS);
        return listOf(part.attributes, CAUSES).filter((id) => stored.includes(id));
      });
    },
  };
};

/** The first event that a commit stored in the stream of an event, from the events of a span or part, in the order of the stream. */
const firstOf = (stored: readonly string[], event: string): string | undefined => {
  const stream = event.slice(0, event.lastIndexOf('@') + 1);
  return stored.find((id) => id.startsWith(stream));
};

/** The direct references of a span. */
export const referencesOf = (graph: SpanGraph, key: string, following: Following): readonly string[] => {
  const parent = graph.parentOf(key);
  const parents = parent === undefined || following === 'links' ? [] : [parent];
  return following === 'parents' ? parents : [...parents, ...graph.linksOf(key)];
};

/** The span within which another one stored its events: its parent, or itself without one. */
export const placeOf = (graph: SpanGraph, key: string): string => graph.parentOf(key) ?? key;

/** Whether a walk from a span over its references reaches another. A span reaches itself. */
export const reaches = (graph: SpanGraph, from: string, to: string, following: Following): boolean => {
  const seen = new Set([from]);
  const open = [from];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    if (key === to) return true;
    for (const next of referencesOf(graph, key, following)) {
      if (seen.has(next)) continue;
      seen.add(next);
      open.push(next);
    }
  }
  return false;
};
