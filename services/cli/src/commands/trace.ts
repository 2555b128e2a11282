import type { JsonValue } from '@bufbuild/protobuf';
import { type Span, spanStore } from '@interlock/lab/spans/span-store';
import { renderTrace, traceTree } from '@interlock/lab/spans/trace-tree';
import { aligned } from '../output/align.ts';
import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import { TraceNotFound, UsageError } from '../problems.ts';
import type { ClusterPlace } from '../session/place.ts';
import { keptSpans } from './kept-spans.ts';

/** Where a trace is looked for, and how it is shown. */
export interface TraceOptions {
  /** The launcher's folder. */
  readonly data: string | undefined;
  /** The cluster the cloud is in: its spans are not in the folder. */
  readonly cluster: ClusterPlace | undefined;
  readonly terminal: Terminal;
  readonly output: Output;
}

/**
 * Shows a trace from the spans the launcher kept, with what followed from it in other traces.
 * @throws UsageError when it is no trace id; TraceNotFound when nothing is known of it
 */
export async function showTrace(traceId: string, options: TraceOptions): Promise<void> {
  const { data, cluster, terminal, output } = options;
  if (traceId === 'list') return listTraces(options);
  if (!/^[0-9a-f]{32}$/.test(traceId)) {
    throw new UsageError(`a trace id is 32 lower-case hexadecimal digits, not "${traceId}"`);
  }
  const store = spanStore();
  for await (const spans of keptSpans(data)) store.add(spans);
  const roots = traceTree(store, traceId);
  if (roots.length === 0) {
    throw new TraceNotFound(
      cluster === undefined
        ? `no spans of trace ${traceId} are in ${data ?? 'a data folder: none is named'}: services export theirs a moment after they end, old ones are dropped, and none come here where OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) sends them elsewhere, or OTEL_TRACES_SAMPLER or OTEL_SDK_DISABLED leaves them out`
        : `the spans of a cloud in a cluster are where its collector sends them, by the same id. In the local overlay that is Jaeger: kubectl --context ${cluster.context} --namespace ${cluster.namespace} port-forward svc/jaeger 16686, then http://localhost:16686/trace/${traceId}`,
    );
  }
  if (output.isDocument) output.write(roots as unknown as JsonValue);
  else terminal.out(renderTrace(roots));
}

/** Most traces in the list. */
const listedMax = 50;

/** A trace in the list. */
interface ListedTrace {
  readonly traceId: string;
  readonly startMs: number;
  readonly durationMs: number;
  readonly spans: number;
  readonly services: number;
  readonly failed: number;
  /** The span without a parent, or the first one that was kept. */
  readonly root: string;
}

/** Lists the newest traces that the launcher kept. @throws TraceNotFound if it kept none */
async function listTraces({ data, terminal, output }: TraceOptions): Promise<void> {
  const byTrace = new Map<string, Span[]>();
  for await (const spans of keptSpans(data)) {
    for (const span of spans) {
      const known = byTrace.get(span.traceId);
      if (known === undefined) byTrace.set(span.traceId, [span]);
      else known.push(span);
    }
  }
  if (byTrace.size === 0)
    throw new TraceNotFound(
      `no spans are in ${data ?? 'a data folder: none is named'}: services export theirs a moment after they end`,
    );
  const newest = [...byTrace.values()]
    .map(listed)
    .toSorted((a, b) => b.startMs - a.startMs)
    .slice(0, listedMax);
  if (output.isDocument) return output.write(newest as unknown as JsonValue);
  const rows = newest.map(({ traceId, startMs, durationMs, spans, services, failed, root }) => [
    traceId,
    new Date(startMs).toISOString().slice(11, 23),
    `${Math.round(durationMs)} ms`,
    String(spans),
    String(services),
    String(failed),
    root,
  ]);
  terminal.out(aligned([['TRACE', 'START (UTC)', 'DURATION', 'SPANS', 'SERVICES', 'FAILED', 'ROOT'], ...rows]));
}

const listed = (spans: readonly Span[]): ListedTrace => {
  const [first] = spans.toSorted((a, b) => a.startMs - b.startMs);
  const startMs = first?.startMs ?? 0;
  const root = spans.find(({ parentSpanId }) => parentSpanId === undefined) ?? first;
  return {
    traceId: first?.traceId ?? '',
    startMs,
    durationMs: Math.max(...spans.map((span) => span.startMs + span.durationMs)) - startMs,
    spans: spans.length,
    services: new Set(spans.map(({ service }) => service)).size,
    failed: spans.filter(({ status }) => status === 'error').length,
    root: `${root?.service} ${root?.name}`,
  };
};
