import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { processStart, tryLock } from '@interlock/local/lock.mjs';
import type { Clock } from '@interlock/runtime';
import type { Terminal } from '../output/terminal.ts';
import { NotSettled } from '../problems.ts';
import type { Environment } from '../session/environment.ts';
import { build } from './build.ts';

/** Longest stop of Postgres, NATS and five services, in milliseconds. */
const STOP_MS_MAX = 30_000;

/**
 * Runs a script of the repository in the foreground: in a clone as npm would, in an installed package its own copy (services/cli/app.ts).
 * @param script path from the root of the repository
 * @returns its exit code
 */
export function runLauncher(
  script: string,
  data: string,
  env: Environment,
  args: readonly string[] = [],
): Promise<number> {
  const { command, cwd, settings } = build.clone === undefined ? installed(script, data) : cloned(script, build.clone);
  const child = spawn(process.execPath, [...command, ...args], {
    cwd,
    env: { ...settings, ...env, INTERLOCK_DATA: data },
    // Over the channel a script notices that this process was killed.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** How a script is started. */
interface Start {
  /** Arguments of Node. */
  readonly command: readonly string[];
  readonly cwd: string;
  /** Variables of which the environment may have others. */
  readonly settings: Environment;
}

function cloned(script: string, clone: string): Start {
  return { command: [join(clone, 'deploy/local/bootstrap.mjs'), script], cwd: clone, settings: {} };
}

function installed(script: string, data: string): Start {
  const app = fileURLToPath(new URL('../app', import.meta.url));
  return {
    command: [join(app, script.replace(/\.ts$/, '.js'))],
    cwd: app,
    settings: {
      NODE_COMPILE_CACHE: join(data, 'compile-cache'),
      GUEST_IMAGE_FOLDER: join(data, 'guest-image'),
      INTERLOCK_STARTED_AT: String(Math.round(performance.timeOrigin)),
    },
  };
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
