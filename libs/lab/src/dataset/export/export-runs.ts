import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathInFolder } from '@interlock/runtime';
import { assertEmpty, readRun, runFolders } from '../format/folder.ts';
import { withoutLabels } from '../format/labels.ts';
import { exported, type exportFormats } from './exports.ts';
import type { LinkView } from './link-view.ts';

/** How a data set is exported. */
export interface ExportChoice {
  readonly format: (typeof exportFormats)[number];
  readonly view: LinkView;
  /** Without the attributes that hold answers. */
  readonly isBlind: boolean;
}

/**
 * Writes every run of a data set in another format, into a new or empty folder.
 * @returns the number of files
 * @throws DatasetError for what is no data set, or a folder that holds files
 */
export const exportRuns = (folder: string, out: string, { format, view, isBlind }: ExportChoice): number => {
  assertEmpty(out);
  let count = 0;
  for (const run of runFolders(folder)) {
    const data = readRun(run);
    for (const [path, content] of exported(isBlind ? withoutLabels(data) : data, format, view)) {
      const file = pathInFolder(out, join(relative(folder, run), path));
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      count += 1;
    }
  }
  return count;
};
