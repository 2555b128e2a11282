import { type OtlpSpan, spansIn, type TracesRequest, withSpans } from '../format/otlp.ts';
import { spanKey } from '../truth/span-graph.ts';

/**
 * How links are exported. `links`: as recorded. `parents`: a span without a parent becomes a child of the first span it links to,
 * in the trace of that span; no links remain. `both`: the same, and the links remain.
 */
export const linkViews = ['links', 'parents', 'both'] as const;

/** One of `linkViews`. */
export type LinkView = (typeof linkViews)[number];

/** The traces with their links in another form. */
export const viewed = (traces: readonly TracesRequest[], view: LinkView): readonly TracesRequest[] => {
  if (view === 'links') return traces;
  const spans = spansIn(traces);
  const present = new Set(spans.map(spanKey));
  const adoptedBy = (span: OtlpSpan) =>
    span.parentSpanId ? undefined : span.links?.find((link) => present.has(spanKey(link)));
  // A trace moves with its root, into the final trace of the linked span.
  const moves = new Map<string, string>();
  for (const span of spans) {
    const link = adoptedBy(span);
    if (link !== undefined && !moves.has(span.traceId) && traceAfter(moves, link.traceId) !== span.traceId)
      moves.set(span.traceId, link.traceId);
  }
  return withSpans(traces, (span) => {
    const link = adoptedBy(span);
    // A link that would make a cycle of traces is not followed.
    const isAdopted = link !== undefined && traceAfter(moves, link.traceId) === traceAfter(moves, span.traceId);
    const { links = [], ...rest } = span;
    return {
      ...rest,
      traceId: traceAfter(moves, span.traceId),
      ...(isAdopted ? { parentSpanId: link.spanId } : {}),
      ...(view === 'both' && links.length > 0
        ? { links: links.map((one) => ({ ...one, traceId: traceAfter(moves, one.traceId) })) }
        : {}),
    };
  });
};

const traceAfter = (moves: ReadonlyMap<string, string>, traceId: string): string => {
  let at = traceId;
  for (let next = moves.get(at); next !== undefined; next = moves.get(at)) at = next;
  return at;
};
