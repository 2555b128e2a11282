import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spansInLine } from '@interlock/local/span-receiver.ts';
import { type Span, spanStore } from '@interlock/local/spans.ts';
import { renderTrace, traceTree } from '@interlock/local/trace-tree.ts';
import type { Terminal } from './session.ts';
import { UsageError } from './usage-error.ts';

/** Nothing is known of a trace. */
export class TraceNotFound extends Error {
  override readonly name = 'TraceNotFound';
}

/**
 * Shows a trace from the spans the launcher kept, with what followed from it in other traces.
 * @param data the launcher's folder
 * @throws UsageError when it is no trace id; TraceNotFound when nothing is known of it
 */
export async function showTrace(traceId: string, data: string, terminal: Terminal, isJson: boolean): Promise<void> {
  if (!/^[0-9a-f]{32}$/.test(traceId)) {
    throw new UsageError(`a trace id is 32 lower-case hexadecimal digits, not "${traceId}"`);
  }
  const store = spanStore();
  for (const file of ['spans.1.jsonl', 'spans.jsonl'].map((name) => join(data, name)).filter(existsSync)) {
    for await (const line of createInterface({ input: createReadStream(file) })) store.add(spanIn(line));
  }
  const roots = traceTree(store, traceId);
  if (roots.length === 0) {
    throw new TraceNotFound(
      `no spans of trace ${traceId} are in ${data}: services export theirs a moment after they end, and old ones are dropped`,
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
