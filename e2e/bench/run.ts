import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import { replicasOf } from '@interlock/local/services.ts';
import { append } from './append.ts';
import type { Bench } from './bench.ts';
import { churn } from './churn.ts';
import { cipher } from './disk-io/cipher.ts';
import { diskIo } from './disk-io/disk-io.ts';
import { fairness } from './fairness.ts';
import { feed } from './feed.ts';
import { HISTORY_VARIABLE, openHistory } from './history.ts';
import { lineOf, withReplicas } from './measure.ts';
import { rebuild } from './rebuild.ts';
import { restoreFleet } from './restore-fleet.ts';
import { revokeFleet } from './revoke-fleet.ts';
import { rotateFleet } from './rotate-fleet.ts';
import { start } from './start/start.ts';
import { traceCost } from './trace-cost.ts';
import { unwrap } from './unwrap.ts';

const benches: Readonly<Record<string, Bench>> = {
  append,
  churn,
  cipher,
  'disk-io': diskIo,
  fairness,
  feed,
  rebuild,
  'restore-fleet': restoreFleet,
  'revoke-fleet': revokeFleet,
  'rotate-fleet': rotateFleet,
  start,
  'trace-cost': traceCost,
  unwrap,
};

/** Those of a whole cloud: how many processes each of its services has is theirs to be told. */
const ofClouds: readonly string[] = [
  'churn',
  'fairness',
  'restore-fleet',
  'revoke-fleet',
  'rotate-fleet',
  'trace-cost',
];

const usage = 'npm run bench -- <name> [--size N] [--seconds N] [--replicas N] [--smoke] [--history FILE]';

const help = () => `${usage}

Measures one thing beside a floor of the same run, and prints one JSON line per size.
  --size N        this size alone; what a size is, docs/performance.md says of each bench
  --seconds N     for so long, where a bench is about time
  --replicas N    processes of each service, 1 by default, where a bench is of a whole cloud
  --smoke         as small as possible: shows that a bench runs and measures nothing, as its lines say (smoke: true)
  --history FILE  keeps the lines in a file outside the repository as well; ${HISTORY_VARIABLE} names one for every run

There are: ${Object.keys(benches).join(', ')}.`;

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        size: { type: 'string' },
        seconds: { type: 'string' },
        replicas: { type: 'string' },
        smoke: { type: 'boolean', default: false },
        history: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
};

const countIn = (text: string | undefined, flag: string): number | undefined => {
  const count = text === undefined ? undefined : Number(text);
  if (count === undefined || (Number.isSafeInteger(count) && count > 0)) return count;
  throw new LauncherError(`${flag} must be a whole number above 0, not "${text}".`);
};

/**
 * `npm run bench -- <name> [--size N] [--seconds N] [--replicas N] [--smoke] [--history FILE]`: prints one JSON line per size; the last line is such a
 * line. Keeps the lines in the history file as well, or in the one `INTERLOCK_BENCH_HISTORY` names.
 */
runCommand(async (scope) => {
  const { positionals, values } = readArguments();
  if (values.help) {
    console.log(help());
    return { exitCode: 0 };
  }
  const [name = '', ...more] = positionals;
  const bench = benches[name];
  const names = Object.keys(benches).join(', ');
  if (!bench || more.length > 0)
    throw new LauncherError(
      name === '' || more.length > 0
        ? `Name one bench: ${usage}. There are: ${names}.`
        : `There is no bench "${name}". There are: ${names}.`,
    );
  const size = countIn(values.size, '--size');
  const seconds = countIn(values.seconds, '--seconds');
  const replicas = values.replicas === undefined ? undefined : replicasOf(values.replicas);
  if (replicas !== undefined && !ofClouds.includes(name))
    throw new LauncherError(`--replicas is for benches of a whole cloud: ${ofClouds.join(', ')}. ${name} has none.`);
  const file = values.history ?? process.env[HISTORY_VARIABLE];
  const history = file ? openHistory(file, values.smoke) : undefined;

  const root = mkdtempSync(join(openDataFolder(dataRoot(process.env)).folder('bench'), 'run-'));
  scope.defer('bench data', () => rmSync(root, { recursive: true, force: true }));
  const options = { size, seconds, replicas, smoke: values.smoke, data: openDataFolder(root) };
  const measurements = (await bench(options, scope)).map((one) => withReplicas(one, replicas));
  history?.add(measurements);
  const lines = measurements.map((measurement) => lineOf(measurement, values.smoke));
  for (const line of lines.slice(0, -1)) console.log(line);
  const lastLine = lines.at(-1);
  return lastLine === undefined ? { exitCode: 1 } : { exitCode: 0, lastLine };
});
