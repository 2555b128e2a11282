import { createHash } from 'node:crypto';
import { type OtlpSpan, type PlacedSpan, spansIn, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { edgesOf } from '../truth/edges.ts';
import { spanKey } from '../truth/span-graph.ts';

/** Kind of a span that serves a call. */
const SERVER = 2;

/**
 * The run as a system records it whose consumers start traces of their own: a span below one of another service, other than by a
 * call, begins a new trace and has a link to what was its parent. So a symptom seldom has the trace id of its root. The truth is the
 * same; what depends on traces (`carriedBy`, the spans of events) follows.
 */
export const splitTraces = (data: RunData): RunData => {
  const spans = new Map(spansIn(data.traces).map((span) => [spanKey(span), span]));
  const parentOf = ({ traceId, parentSpanId }: OtlpSpan): PlacedSpan | undefined =>
    parentSpanId ? spans.get(spanKey({ traceId, spanId: parentSpanId })) : undefined;
  const startsTrace = (span: PlacedSpan): boolean => {
    const parent = parentOf(span);
    return parent !== undefined && parent.service !== span.service && span.kind !== SERVER;
  };
  const traceOf = new Map<string, string>();
  const newTrace = (start: PlacedSpan): string => {
    const path: PlacedSpan[] = [];
    let at: PlacedSpan | undefined = start;
    let trace: string | undefined;
    while (at !== undefined && trace === undefined) {
      path.push(at);
      trace = traceOf.get(spanKey(at));
      if (trace === undefined && startsTrace(at))
        trace = createHash('sha256').update(spanKey(at)).digest('hex').slice(0, 32);
      if (trace === undefined) at = parentOf(at);
    }
    const found = trace ?? start.traceId;
    for (const one of path) traceOf.set(spanKey(one), found);
    return found;
  };
  const traceAfter = (ids: { readonly traceId: string; readonly spanId: string }): string => {
    const span = spans.get(spanKey(ids));
    return span === undefined ? ids.traceId : newTrace(span);
  };
  const traces = withSpans(data.traces, (span, service) => {
    const placed = { ...span, service };
    const links = (span.links ?? []).map((link) => ({ ...link, traceId: traceAfter(link) }));
    const parent = startsTrace(placed) ? parentOf(placed) : undefined;
    const { parentSpanId, ...rest } = span;
    const moved = { ...rest, traceId: traceAfter(span) };
    if (parent === undefined) return { ...moved, ...(parentSpanId === undefined ? {} : { parentSpanId }), links };
    return { ...moved, links: [...links, { traceId: traceAfter(parent), spanId: parent.spanId, attributes: [] }] };
  });
  const events = data.events.map((event) => ({ ...event, traceId: traceAfter(event) }));
  const logs = data.logs.map(({ resourceLogs = [] }) => ({
    resourceLogs: resourceLogs.map(({ scopeLogs = [], ...resource }) => ({
      ...resource,
      scopeLogs: scopeLogs.map(({ logRecords = [], ...scope }) => ({
        ...scope,
        logRecords: logRecords.map((record) =>
          record.traceId === undefined || record.spanId === undefined
            ? record
            : { ...record, traceId: traceAfter({ traceId: record.traceId, spanId: record.spanId }) },
        ),
      })),
    })),
  }));
  return { ...data, traces, logs, events, edges: edgesOf(events, traces) };
};
