import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeRun } from '@interlock/lab/dataset';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { IncompleteRun } from '../../record-run.ts';
import { withTables } from '../tables.ts';
import { measureSeed, type SeedRow } from './measure-seed.ts';
import { seedTable, shortfalls } from './table.ts';

const usage = `npm run study:seeds -- DIR [--seeds N] [--data] [--page]

Runs N seeds (20 by default) on real processes, every second one with kills, about 80 s each. A run that DIR/seeds.jsonl has
already is not repeated, so an interrupted command continues. Ends with 1 if a run does not reach its limits.
  --data  keeps the data set of each run in DIR
  --page  also renews the table of docs/tracing-study.md`;

/** Runs of one seed before the command gives up. */
const attempts = 3;

const page = fileURLToPath(new URL('../../../../../docs/tracing-study.md', import.meta.url));

runCommand(async (scope) => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string', default: '20' },
      data: { type: 'boolean', default: false },
      page: { type: 'boolean', default: false },
    },
  });
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1 || !/^[1-9]\d{0,3}$/.test(values.seeds))
    throw new LauncherError(usage);
  const out = resolve(folder);
  const file = join(out, 'seeds.jsonl');
  mkdirSync(out, { recursive: true });
  const rows = rowsIn(file);
  for (let seed = 1; seed <= Number(values.seeds) && !scope.signal.aborted; seed += 1) {
    if (rows.some((row) => row.seed === seed)) continue;
    const withKills = seed % 2 === 0;
    console.log(`seed ${seed}${withKills ? ', with kills' : ''}`);
    const running = measured({ seed, withKills }, scope.signal);
    // Ctrl-C: everything is undone before the process ends.
    scope.defer(`seed ${seed}`, () =>
      running.then(
        () => undefined,
        () => undefined,
      ),
    );
    const { row, data } = await running;
    // The records of an interrupted run are incomplete.
    if (scope.signal.aborted) break;
    if (values.data) writeRun(join(out, data.facts.run), data);
    appendFileSync(file, `${JSON.stringify(row)}\n`);
    rows.push(row);
    for (const line of [...row.causeFaults, ...row.unexplained].slice(0, 10)) console.log(`  ${line}`);
  }
  const table = seedTable(rows);
  console.log(table);
  if (values.page) writeFileSync(page, withTables(readFileSync(page, 'utf8'), new Map([['seeds', table]])));
  const short = rows.flatMap((row) => shortfalls(row).map((what) => `seed ${row.seed}: ${what}`));
  for (const line of short) console.log(line);
  return { exitCode: short.length === 0 ? 0 : 1 };
});

/** Measures a seed. An incomplete run proves nothing, so it is repeated. */
async function measured(run: Parameters<typeof measureSeed>[0], signal: AbortSignal): ReturnType<typeof measureSeed> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await measureSeed(run, { signal, say: console.log });
    } catch (error) {
      if (!(error instanceof IncompleteRun) || attempt === attempts || signal.aborted) throw error;
      console.log(`${error.message}: it is repeated`);
    }
  }
}

function rowsIn(file: string): SeedRow[] {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text.split('\n').flatMap((line): SeedRow[] => (line === '' ? [] : [JSON.parse(line)]));
}
