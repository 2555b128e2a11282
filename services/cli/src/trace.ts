import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spansInLine } from '@interlock/local/span-receiver.ts';
import { type Span, spanStore } from '@interlock/local/spans.ts';
import { renderTrace, traceTree } from '@interlock/local/trace-tree.ts';
import type { ClusterPlace } from './kubectl.ts';
import type { Terminal } from './session.ts';
import { TraceNotFound } from './trace-not-found.ts';
import { UsageError } from './usage-error.ts';

/** Where a trace is looked for, and how it is shown. */
export interface TraceWish {
  /** The launcher's folder. */
  readonly data: string;
  /** Where the cloud is: the spans of one in a cluster are not in the folder. */
  readonly place: ClusterPlace;
  readonly terminal: Terminal;
  readonly isJson: boolean;
}

/**
 * Shows a trace from the spans the launcher kept, with what followed from it in other traces.
 * @throws UsageError when it is no trace id; TraceNotFound when nothing is known of it
 */
export async function showTrace(traceId: string, { data, place, terminal, isJson }: TraceWish): Promise<void> {
  if (!/^[0-9a-f]{32}$/.test(traceId)) {
    throw new UsageError(`a trace id is 32 lower-case hexadecimal digits, not "${traceId}"`);
  }
  const store = spanStore();
  for (const file of ['spans.1.jsonl', 'spans.jsonl'].map((name) => join(data, name)).filter(existsSync)) {
    for await (const line of createInterface({ input: createReadStream(file) })) store.add(spanIn(line));
  }
  const roots = traceTree(store, traceId);
  if (roots.length === 0) {
    const { context, namespace } = place;
    throw new TraceNotFound(
      context === undefined
        ? `no spans of trace ${traceId} are in ${data}: services export theirs a moment after they end, old ones are dropped, and none come here where OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) sends them elsewhere, or OTEL_TRACES_SAMPLER or OTEL_SDK_DISABLED leaves them out`
        : `the spans of a cloud in a cluster are where its collector sends them, by the same id. In the local overlay that is Jaeger: kubectl --context ${context} --namespace ${namespace} port-forward svc/jaeger 16686, then http://localhost:16686/trace/${traceId}`,
    );
  }
  terminal.out(isJson ? JSON.stringify(roots, undefined, 2) : renderTrace(roots));
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
