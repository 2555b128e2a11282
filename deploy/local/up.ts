import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '@interlock/runtime';
import { runCommand } from './command.ts';
import { dataRoot, LauncherError, openDataFolder, repository } from './data-folder.ts';
import { holdWord } from './hold-word.ts';
import { startLocalCloud } from './local-cloud.ts';
import { openRestarts, restartAfterOf } from './restarts.ts';
import { replicasOf } from './services.ts';

const usage = `npm run up [-- --replicas N --restart-after T]

Runs the whole cloud until Ctrl-C; its data stays.
  --replicas N   processes of each service, 1 to 7, 1 by default. Of disk one works and the others stand by: it has the
                 volumes of its folder to itself, and is called disk whichever it is; one that stands by is disk-0, disk-1, …,
                 which is also the name of its log, whether it works or stands by.
                 The guests of compute's processes are on this one machine, which all of them share.
  --restart-after T
                 how long a service stays away that ended although nobody asked it to (kill -9), and NATS or Postgres where
                 they were started here: 500ms, 30s, 2m, 1h (a unit is needed), 1s by default, twice as long each time it ends
                 again soon; never leaves it away.`;

const readArguments = () => {
  try {
    const text = { type: 'string' } as const;
    const options = { replicas: text, 'restart-after': text, help: { type: 'boolean', short: 'h' } } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
};

/** `npm run up`: runs the cloud until Ctrl-C. */
runCommand(async (scope) => {
  const { replicas: wanted, 'restart-after': after, help } = readArguments();
  if (help === true) {
    console.log(usage);
    return { exitCode: 0 };
  }
  const replicas = replicasOf(wanted);
  const afterMs = restartAfterOf(after);
  const data = openDataFolder(dataRoot(process.env));
  const { INTERLOCK_DATA: folder } = process.env;
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    replicas,
    say: console.log,
    within: scope,
    // Five times as often as usual: whoever types a command looks at its trace next, and a process that is killed keeps less to itself.
    settings: { OTEL_BSP_SCHEDULE_DELAY: '200' },
    onCrash: openRestarts({ afterMs, clock: systemClock, say: console.error, signal: scope.signal }),
  });
  const hold = await holdWord(cloud);
  console.log(`
The cloud is running. ${hold === undefined ? '' : `${hold}\n\n`}Try, in another terminal:

${folder === undefined ? '' : `  export INTERLOCK_DATA=${data.root}\n`}  npx interlock status
  npx interlock --help

For interlock in place of npx interlock, also in other folders:

  export PATH=${join(repository, 'services/cli/bin')}:$PATH

Everything is in ${data.root}
  administrator's credentials   administrator.json
  addresses                     cloud.json
  logs                          logs/

Ctrl-C stops it; the data stays.`);
  return new Promise(() => undefined);
});
