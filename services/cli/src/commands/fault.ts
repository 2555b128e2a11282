import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ControlledPart, PartProcess } from '@interlock/local/control/cloud-control.ts';
import { callControl } from '@interlock/local/control/control-client.ts';
import { copiedFrom, LauncherError } from '@interlock/local/data-folder.ts';
import { readUserFile, systemClock } from '@interlock/runtime';
import type { Terminal } from '../output/terminal.ts';
import { FaultFailed, NoCloud } from '../problems.ts';
import { interruptible } from '../session/endings.ts';

/** Poll interval until a part is healed, in milliseconds. */
const lookMs = 100;

/** What `fault` does to a part. */
export type FaultAction = 'kill' | 'pause' | 'resume' | 'restart';

/** What a `fault` command does. */
export interface Fault {
  readonly action: FaultAction;
  readonly part: ControlledPart;
  /** After which the launcher undoes it, in milliseconds. */
  readonly forMs: number | undefined;
}

/**
 * Injects a fault on the cloud of a data folder. Waits until it is healed if it has a duration.
 * @throws NoCloud if no launcher responds there, FaultFailed with its reason
 */
export async function applyFault(
  { action, part, forMs }: Fault,
  data: string | undefined,
  terminal: Pick<Terminal, 'out' | 'err'>,
): Promise<void> {
  const path = controlPath(data);
  if (path === undefined) throw noLauncher(data);
  const call = <Result>(name: Parameters<typeof callControl>[1], given = {}): Promise<Result> =>
    callControl<Result>(path, name, given).catch((error: unknown) => {
      throw error instanceof LauncherError ? new FaultFailed(error.message, { cause: error }) : error;
    });
  const fromMs = systemClock.monotonicMs();
  await call(action, { part, ...(forMs === undefined ? {} : { forMs }) });
  const found = await call<readonly PartProcess[]>('processes');
  for (const { name, pid, state } of found.filter((one) => one.part === part))
    terminal.out(`${name}: ${state}${state === 'down' ? '' : ` (process ${pid})`}`);
  if (forMs === undefined) return;
  await interruptible('status', terminal, async () => {
    await systemClock.sleep(forMs);
    while (!(await isRunning(call('processes'), part))) await systemClock.sleep(lookMs);
  });
  terminal.out(`${part}: running again after ${Math.round(systemClock.monotonicMs() - fromMs)} ms`);
}

/** Processes of the local cloud of a data folder, with their ids; empty for another cloud, or if its launcher is gone. */
export async function localProcesses(data: string | undefined): Promise<readonly PartProcess[]> {
  const path = controlPath(data);
  return path === undefined ? [] : callControl<readonly PartProcess[]>(path, 'processes').catch(() => []);
}

const isRunning = async (found: Promise<readonly PartProcess[]>, part: ControlledPart): Promise<boolean> =>
  (await found).every((one) => one.part !== part || one.state === 'running');

function controlPath(data: string | undefined): string | undefined {
  if (data === undefined || !existsSync(join(data, 'cloud.json')) || copiedFrom(data) !== undefined) return undefined;
  const { control } = JSON.parse(readUserFile(join(data, 'cloud.json')).toString('utf8'));
  return typeof control === 'string' ? control : undefined;
}

const noLauncher = (data: string | undefined): NoCloud =>
  new NoCloud(
    data === undefined
      ? 'faults need the data folder of a launcher on this machine: name it with --data or INTERLOCK_DATA'
      : `no cloud runs on ${data}: start one with \`npm run up\`, or name its folder with --data or INTERLOCK_DATA`,
  );
