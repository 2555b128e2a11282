import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { HISTORY_VARIABLE, readHistory } from './history.ts';
import { renderPage } from './page.ts';
import { renderTable } from './table.ts';

const usage = `npm run bench:report -- --history FILE [--out FILE] [--markdown]   (or ${HISTORY_VARIABLE} names the history)`;

const readArguments = () => {
  try {
    return parseArgs({
      options: { history: { type: 'string' }, out: { type: 'string' }, markdown: { type: 'boolean' } },
    }).values;
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
};

/**
 * `npm run bench:report`: writes a history as one HTML page, by default next to it, or with `--markdown` as the table of
 * docs/performance.md, and prints the file's name.
 */
runCommand(async () => {
  const { history = process.env[HISTORY_VARIABLE], out, markdown = false } = readArguments();
  if (!history) throw new LauncherError(`Name the history to show: ${usage}`);
  const kept = readHistory(history);
  if (kept.length === 0)
    throw new LauncherError(`The history ${resolve(history)} is empty: run a bench with --history first.`);
  const file = resolve(out ?? `${history}.${markdown ? 'md' : 'html'}`);
  try {
    writeFileSync(file, markdown ? renderTable(kept) : renderPage(kept));
  } catch (error) {
    throw new LauncherError(`The report ${file} cannot be written: ${error instanceof Error ? error.message : error}.`);
  }
  return { exitCode: 0, lastLine: file };
});
