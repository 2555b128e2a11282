import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createScope } from '@interlock/runtime';
import { runCommand } from '../../deploy/local/command.ts';
import { openSettingsIn } from '../../deploy/local/control/routes.ts';
import {
  dataRoot,
  holdDataFolder,
  LauncherError,
  openDataFolder,
  removeWhole,
} from '../../deploy/local/data-folder.ts';
import { startLocalCloud } from '../../deploy/local/local-cloud.ts';
import { diskHostsOf, vmHostsOf } from '../../deploy/local/services.ts';
import { removeServer } from '../../deploy/local/unprivileged.ts';
import { startOutcome } from './start-outcome.ts';

const usage = `npm start [-- --disk-hosts N --vm-hosts N]

Brings up a cloud of its own, rehearses losing and regaining a key on it, and stops it. What differs from one rehearsal to
another is said by variables (docs/settings.md). The last line is JSON: the verdict.
  --disk-hosts N   disk hosts as processes of their own, 1 to 7; without it one process of disk has all volumes
  --vm-hosts N     VM hosts, 1 to 7: processes that run the guests of machines; without it compute runs them`;

const readArguments = () => {
  try {
    const options = {
      'disk-hosts': { type: 'string' },
      'vm-hosts': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    return parseArgs({ options }).values;
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
};

/** `npm start`: starts its own cloud, rehearses on it, stops it. */
runCommand(async (scope) => {
  const { help, 'disk-hosts': hosts, 'vm-hosts': vms } = readArguments();
  if (help === true) {
    console.log(usage);
    return { exitCode: 0 };
  }
  const [diskHosts, vmHosts] = [diskHostsOf(hosts), vmHostsOf(vms)];
  // From the bootstrap, which has checked whether anything must be installed.
  const startedAtMs = Number(process.env.INTERLOCK_STARTED_AT ?? performance.timeOrigin);
  // Separate from the cloud of `npm run up`, which may be running and holds its user's data.
  const data = openDataFolder(openDataFolder(dataRoot(process.env)).folder('rehearsal'));
  const release = holdDataFolder(data);
  // Creating a Postgres server takes longer than starting all services, so a server that was stopped cleanly is reused. A run
  // deletes its databases when it stops. A killed run leaves them behind, so its server is recreated.
  const isServerKept = existsSync(data.path('stopped-well'));
  if (!isServerKept) removeServer(data);
  for (const left of ['stopped-well', 'nats', 'services', 'bootstrap', 'logs', 'spans.jsonl', 'spans.1.jsonl'])
    removeWhole(data.path(left));
  release();

  // Loaded while the services start, which mostly wait in that time.
  const rehearsal = import('./run.ts');
  void Promise.allSettled([rehearsal]);
  const own = createScope();
  scope.defer('cloud', own.close);
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name: `rehearsal_${randomBytes(4).toString('hex')}`,
    temporary: true,
    diskHosts,
    vmHosts,
    // Spans must have arrived when their trace is shown.
    settings: { OTEL_BSP_SCHEDULE_DELAY: '200' },
    say: console.log,
    within: own,
  });
  const { rehearse } = await rehearsal;
  const outcome = await rehearse(
    { ...cloud, settings: openSettingsIn(process.env) },
    { data, out: dataRoot(process.env), say: console.log, signal: scope.signal },
  );
  await own.close();
  writeFileSync(data.path('stopped-well'), '', { mode: 0o600 });
  const { rehearseLinux } = await import('../qemu/rehearse-linux.ts');
  const running = rehearseLinux(join(dataRoot(process.env), 'linux'), { say: console.log, signal: scope.signal });
  // Ctrl-C aborts it, and its cloud stops before this process ends.
  scope.defer('linux', () => running);
  const linux = await running;
  const all = { ...outcome, ...(linux === undefined ? {} : { linux }) };
  const { text, lastLine } = startOutcome(all, { startedAtMs, endedAtMs: Date.now() });
  console.log(text);
  const isGood = outcome.verdict === 'pass' && (linux === undefined || linux.outcome === 'held');
  return { exitCode: isGood ? 0 : 1, lastLine };
});
