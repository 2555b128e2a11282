import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DatasetError, readManifest, readRun, runFolders } from '@interlock/lab/dataset';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { studyFigures } from './figures.ts';
import { studyPage } from './plots.ts';
import { studyTables, withTables } from './tables.ts';

const usage =
  'npm run study -- DIR [--page] (DIR: a data set; --page: also renews the tables of docs/tracing-study.md)';
const page = fileURLToPath(new URL('../../../../docs/tracing-study.md', import.meta.url));

/** Computes every figure of the tracing study from a data set: DIR/study/study.json and report.html. */
runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { page: { type: 'boolean', default: false } },
  });
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1) throw new LauncherError(usage);
  try {
    const { title } = readManifest(folder);
    const figures = studyFigures(title, runFolders(folder).map(readRun));
    const out = join(resolve(folder), 'study');
    if (!existsSync(out)) mkdirSync(out);
    writeFileSync(join(out, 'study.json'), `${JSON.stringify(figures, undefined, 2)}\n`);
    writeFileSync(join(out, 'report.html'), studyPage(figures));
    const tables = studyTables(figures);
    for (const [name, content] of tables) console.log(`${name}\n${content}\n`);
    if (values.page) writeFileSync(page, withTables(readFileSync(page, 'utf8'), tables));
    console.log(`${out}: study.json, report.html`);
  } catch (error) {
    if (error instanceof DatasetError) throw new LauncherError(error.message);
    throw error;
  }
  return { exitCode: 0 };
});
