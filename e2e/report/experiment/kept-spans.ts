import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { evidenceFiles } from '@interlock/experiment';
import type { Span } from '@interlock/local/spans.ts';

/** The spans in the evidence folder of a run; none if it has no file of them. */
export const keptSpans = (folder: string): readonly Span[] => {
  const path = join(folder, evidenceFiles.spans);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Span);
};
