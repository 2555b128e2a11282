import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '@interlock/runtime';
import { runCommand } from './command.ts';
import { commandLine } from './command-line.ts';
import { openTestControls } from './control/controls-for-tests.ts';
import { dataRoot, LauncherError, openDataFolder, repository, userData } from './data-folder.ts';
import { gatewayPlaceIn, linesToPaste, startGateway } from './gateway.ts';
import { startLivePage } from './live-page.ts';
import { startLocalCloud } from './local-cloud.ts';
import { openRestarts, restartAfterOf } from './restarts.ts';
import { diskHostsOf, replicasOf, serviceNames, vmHostsOf } from './services.ts';
import { requireFree, wantedPorts } from './wanted-ports.ts';

const usage = `npm run up [-- --replicas N --disk-hosts N --vm-hosts N --restart-after T --azure --loopback-admin --test-controls --no-page]

Runs the whole cloud until Ctrl-C; its data stays.
  --replicas N   processes of each service, 1 to 7, 1 by default. Several processes of disk have a disk host beside them,
                 as with --disk-hosts 1: only one process may use the volumes. All guests run on this machine.
  --disk-hosts N disk hosts as processes of their own, 1 to 7: disk-host-0, disk-host-1, …, each with a folder. The processes of
                 disk then have no volumes: they place disks and pass calls on. Without it one process of disk has all
                 volumes. The data of one form starts in the other, as long as only the first host has disks.
  --vm-hosts N   VM hosts, 1 to 7: vm-host-0, vm-host-1, …, processes that run the guests of machines, each with a folder. Without
                 it compute runs the guests. A machine that is on stops when the form changes, and starts in the other.
  --restart-after T
                 how long a service, or NATS or Postgres started here, stays away after it crashed or was killed:
                 500ms, 30s, 2m, 1h (with a unit), 1s by default. The time doubles if it soon ends again. never: it stays
                 away.
  --azure        also starts the gateway for the public cloud's clients, on port 8443, and prints the lines to paste. Its
                 replicas share the port. INTERLOCK_GATEWAY_PORT and INTERLOCK_LOOPBACK_PORT choose other ports than
                 8443 and 8442. If one is in use, nothing is started.
  --loopback-admin
                 the managed identity endpoint of the gateway gives every process of this machine tokens of the
                 administrator. Without it they are tokens of an identity that has no role until one is assigned.
  --no-page      does not serve the live page (interlock page).
  --test-controls
                 for tests: administrators may move the clocks of the cloud, inject faults, and export and import estates
                 through the gateway (/interlock/v1).`;

const readArguments = () => {
  try {
    const text = { type: 'string' } as const;
    const options = {
      replicas: text,
      'disk-hosts': text,
      'vm-hosts': text,
      'restart-after': text,
      azure: { type: 'boolean' },
      'loopback-admin': { type: 'boolean' },
      'test-controls': { type: 'boolean' },
      'no-page': { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
};

/** `npm run up`: runs the cloud until Ctrl-C. */
runCommand(async (scope) => {
  const given = readArguments();
  const { replicas: wanted, 'restart-after': after, azure, 'test-controls': isTest, help } = given;
  if (help === true) {
    console.log(usage);
    return { exitCode: 0 };
  }
  const replicas = replicasOf(wanted);
  const hosts = { diskHosts: diskHostsOf(given['disk-hosts']), vmHosts: vmHostsOf(given['vm-hosts']) };
  const afterMs = restartAfterOf(after);
  const place = azure === true ? gatewayPlaceIn(process.env) : undefined;
  await requireFree(wantedPorts(process.env, place));
  const data = openDataFolder(dataRoot(process.env));
  const testControls = isTest === true ? openTestControls(data, serviceNames) : undefined;
  const { INTERLOCK_DATA: folder } = process.env;
  const { typed } = commandLine();
  const common = {
    data,
    env: process.env,
    say: console.log,
    within: scope,
    // Spans are exported five times as often as by default, because users look at the trace of their last command.
    settings: {
      OTEL_BSP_SCHEDULE_DELAY: '200',
      ...(place && { CLIENT_ASSERTION_AUDIENCE: `https://localhost:${place.port}` }),
    },
    onCrash: openRestarts({ afterMs, clock: systemClock, say: console.error, signal: scope.signal }),
  };
  const cloud = await startLocalCloud({ ...common, replicas, ...hosts, testControls });
  const access =
    place !== undefined
      ? await startGateway({
          ...{ ...common, cloud, replicas, testControls, ...place },
          isLoopbackAdministrator: given['loopback-admin'] === true,
        })
      : undefined;
  console.log(`
The cloud is running. Try, in another terminal:

${folder === undefined || data.root === userData(process.env) ? '' : `  export INTERLOCK_DATA=${data.root}\n`}  ${typed} status
  ${typed} --help
${
  typed === 'interlock'
    ? ''
    : `
For interlock in place of npx interlock, also in other folders:

  export PATH=${join(repository, 'services/cli/bin')}:$PATH
`
}
Everything is in ${data.root}
  administrator's credentials   administrator.json
  addresses                     cloud.json
  logs                          logs/

Ctrl-C stops it; the data stays.`);
  if (access !== undefined) console.log(linesToPaste(access));
  if (given['no-page'] !== true) await startLivePage(common);
  return new Promise(() => undefined);
});
