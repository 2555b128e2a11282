import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readUserFile } from '@interlock/runtime';
import { evidenceFiles } from '../../evidence/evidence-folder.ts';
import type { Span } from '../../spans/span-store.ts';

/** Most bytes of the file: somewhat less than a text may have in V8. */
const FILE_BYTES_MAX = 511 * 1_024 * 1_024;

/** The spans in the evidence folder of a run; none if it has no file of them. */
export const keptSpans = (folder: string): readonly Span[] => {
  const path = join(folder, evidenceFiles.spans);
  if (!existsSync(path)) return [];
  const lines = readUserFile(path, FILE_BYTES_MAX).toString('utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Span);
};
