import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Span } from '@interlock/lab/spans/span-store';
import { spansInLine } from '@interlock/local/span-receiver.ts';

/**
 * Spans of each line that the launcher kept, the oldest first.
 * @param data the launcher's folder
 * @param text only of lines that contain it
 */
export async function* keptSpans(data: string | undefined, text = ''): AsyncGenerator<readonly Span[]> {
  const files = data === undefined ? [] : ['spans.1.jsonl', 'spans.jsonl'].map((name) => join(data, name));
  for (const file of files.filter(existsSync))
    for await (const line of createInterface({ input: createReadStream(file) }))
      if (line.includes(text)) yield spanIn(line);
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
