import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { processStart, tryLock } from '@interlock/local/lock.mjs';
import type { Clock } from '@interlock/runtime';
import type { Terminal } from '../output/terminal.ts';
import { NotSettled, UsageError } from '../problems.ts';
import type { Environment } from '../session/environment.ts';
import { build } from './build.ts';

/** Longest stop of Postgres, NATS and five services, in milliseconds. */
const STOP_MS_MAX = 30_000;

/** The clone that has a script. @param script path from the root of the clone @throws UsageError in an installed command line */
export function cloneWith(script: string): string {
  if (build.clone !== undefined) return build.clone;
  throw new UsageError(
    `this command needs a clone of the repository, because it runs ${script} of it: run it there, as npx interlock`,
  );
}

/**
 * Runs a script of the repository in the foreground, as npm would.
 * @param script path from the root of the clone
 * @returns its exit code
 * @throws UsageError in an installed command line, which has no clone
 */
export function runLauncher(
  script: string,
  data: string,
  env: Environment,
  args: readonly string[] = [],
): Promise<number> {
  const clone = cloneWith(script);
  const bootstrap = join(clone, 'deploy/local/bootstrap.mjs');
  const child = spawn(process.execPath, [bootstrap, script, ...args], {
    cwd: clone,
    env: { ...env, INTERLOCK_DATA: data },
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** Whether the launcher of the folder has ended: its cloud.json is out of date then. */
export function isLauncherGone(data: string): boolean {
  const lock = join(data, 'launcher.lock');
  const attempt = existsSync(lock) ? tryLock(lock) : undefined;
  if (attempt?.taken !== true) return false;
  attempt.release();
  return true;
}

/** Stops the launcher that runs on the folder, with everything it started, and waits for its end. */
export async function stopCloud(data: string, clock: Clock, terminal: Terminal): Promise<void> {
  const lock = join(data, 'launcher.lock');
  const attempt = existsSync(lock) ? tryLock(lock) : undefined;
  if (attempt === undefined || attempt.taken) {
    attempt?.release();
    terminal.err(`no launcher runs on ${data}`);
    return;
  }
  const { pid, startedAt } = attempt.holder;
  process.kill(pid, 'SIGTERM');
  const end = clock.monotonicMs() + STOP_MS_MAX;
  // The start time distinguishes it from a later process with the same id.
  while (processStart(pid) === startedAt) {
    if (clock.monotonicMs() >= end)
      throw new NotSettled('TIMEOUT', `process ${pid} still runs after ${STOP_MS_MAX} ms`);
    await clock.sleep(50);
  }
  terminal.err(`stopped process ${pid}`);
}
