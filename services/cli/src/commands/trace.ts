import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { JsonValue } from '@bufbuild/protobuf';
import { spansInLine } from '@interlock/local/span-receiver.ts';
import { type Span, spanStore } from '@interlock/local/spans.ts';
import { renderTrace, traceTree } from '@interlock/local/trace-tree.ts';
import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import { TraceNotFound, UsageError } from '../problems.ts';
import type { ClusterPlace } from '../session/place.ts';

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
export async function showTrace(traceId: string, { data, cluster, terminal, output }: TraceOptions): Promise<void> {
  if (!/^[0-9a-f]{32}$/.test(traceId)) {
    throw new UsageError(`a trace id is 32 lower-case hexadecimal digits, not "${traceId}"`);
  }
  const store = spanStore();
  const files = data === undefined ? [] : ['spans.1.jsonl', 'spans.jsonl'].map((name) => join(data, name));
  for (const file of files.filter(existsSync)) {
    for await (const line of createInterface({ input: createReadStream(file) })) store.add(spanIn(line));
  }
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

/** The last line may be half written while the launcher runs. */
function spanIn(line: string): readonly Span[] {
  try {
    return spansInLine(line);
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}
