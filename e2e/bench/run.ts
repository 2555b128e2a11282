import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import { diskHostsOf, replicasOf, vmHostsOf } from '@interlock/local/services.ts';
import { append } from './append.ts';
import type { Bench } from './bench.ts';
import { churn } from './churn.ts';
import { cipher } from './disk-io/cipher.ts';
import { diskIo } from './disk-io/disk-io.ts';
import { evacuate } from './evacuate/evacuate.ts';
import { fairness } from './fairness.ts';
import { feed } from './feed.ts';
import { restoreFleet, revokeFleet, rotateFleet } from './fleet-key.ts';
import { gateway } from './gateway.ts';
import { HISTORY_VARIABLE, openHistory } from './history.ts';
import { livePage } from './live-page.ts';
import { lineOf, withProcesses } from './measure.ts';
import { openDisks } from './open-disks.ts';
import { placement } from './placement.ts';
import { rebuild } from './rebuild.ts';
import { start } from './start.ts';
import { traceCost } from './trace-cost.ts';
import { unwrap } from './unwrap.ts';

const benches: readonly Bench[] = [
  ...[append, churn, cipher, diskIo, evacuate, fairness, feed, gateway, livePage, openDisks, placement, rebuild],
  ...[restoreFleet, revokeFleet, rotateFleet, start, traceCost, unwrap],
];
const names = benches.map((each) => each.name).join(', ');
const ofClouds = benches.filter(({ isOfCloud }) => isOfCloud).map((each) => each.name);

const usage =
  'npm run bench -- <name> [--size N] [--seconds N] [--replicas N] [--disk-hosts N] [--vm-hosts N] [--smoke] [--history FILE]';

const help = `${usage}

Measures one thing beside a floor of the same run, and prints one JSON line per size.
  --size N        only this size; docs/performance.md says what a size is in each bench
  --seconds N     duration, for benches that measure over time
  --replicas N    processes of each service, default 1, for benches of a whole cloud
  --disk-hosts N  disk hosts as processes of their own, for the same benches
  --vm-hosts N    VM hosts, for the same benches; without them machines have no guests
  --smoke         smallest size, to see that the bench runs; its lines start with smoke: true
  --history FILE  also appends the lines to a file outside the repository; default ${HISTORY_VARIABLE}

Benches: ${names}.`;

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        size: { type: 'string' },
        seconds: { type: 'string' },
        replicas: { type: 'string' },
        'disk-hosts': { type: 'string' },
        'vm-hosts': { type: 'string' },
        smoke: { type: 'boolean', default: false },
        history: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
};

const numberOf = (text: string | undefined, flag: string): number | undefined => {
  const number = text === undefined ? undefined : Number(text);
  if (number === undefined || (Number.isSafeInteger(number) && number > 0)) return number;
  throw new LauncherError(`${flag} must be a whole number above 0 (got "${text}").`);
};

runCommand(async (scope) => {
  const { positionals, values } = readArguments();
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const [name = '', ...more] = positionals;
  if (name === '' || more.length > 0) throw new LauncherError(`Name one bench: ${usage}. Benches: ${names}.`);
  const bench = benches.find((each) => each.name === name);
  if (!bench) throw new LauncherError(`Unknown bench "${name}". Benches: ${names}.`);
  const size = numberOf(values.size, '--size');
  const seconds = numberOf(values.seconds, '--seconds');
  const replicas = values.replicas === undefined ? undefined : replicasOf(values.replicas);
  const diskHosts = values['disk-hosts'] === undefined ? undefined : diskHostsOf(values['disk-hosts']);
  const vmHosts = values['vm-hosts'] === undefined ? undefined : vmHostsOf(values['vm-hosts']);
  for (const [flag, count] of Object.entries({
    '--replicas': replicas,
    '--disk-hosts': diskHosts,
    '--vm-hosts': vmHosts,
  }))
    if (count !== undefined && !bench.isOfCloud)
      throw new LauncherError(`${flag} is only for ${ofClouds.join(', ')} (got bench ${name}).`);
  const file = values.history ?? process.env[HISTORY_VARIABLE];
  const history = file ? openHistory(file, values.smoke) : undefined;

  const root = mkdtempSync(join(openDataFolder(dataRoot(process.env)).folder('bench'), 'run-'));
  scope.defer('bench data', () => rmSync(root, { recursive: true, force: true }));
  const options = { size, seconds, replicas, diskHosts, vmHosts, smoke: values.smoke, data: openDataFolder(root) };
  const measurements = (await bench.run(options, scope)).map((one) =>
    withProcesses(one, { replicas, diskHosts, vmHosts }),
  );
  history?.add(measurements);
  const lines = measurements.map((measurement) => lineOf(measurement, values.smoke));
  for (const line of lines.slice(0, -1)) console.log(line);
  const lastLine = lines.at(-1);
  return lastLine === undefined ? { exitCode: 1 } : { exitCode: 0, lastLine };
});
