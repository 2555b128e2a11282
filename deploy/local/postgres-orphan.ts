import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError } from './data-folder.ts';
import { processStart } from './lock.mjs';

/**
 * Makes a data folder of Postgres startable after its last server ended in any way. The caller holds the launcher's lock, so a
 * server that still runs on it has lost its launcher and its guard: it is shut down. A `postmaster.pid` whose process id
 * now belongs to another program (containers reuse ids soon) is removed; Postgres itself would refuse to start.
 * @throws LauncherError if the server does not end within 30 s
 */
export async function endOrphanedPostgres(folder: string): Promise<'none' | 'stale' | 'stopped'> {
  const file = join(folder, 'postmaster.pid');
  if (!existsSync(file)) return 'none';
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0 || processStart(pid) === undefined || !servesFolder(pid, folder)) {
    rmSync(file, { force: true });
    return 'stale';
  }
  process.kill(pid, 'SIGCONT');
  process.kill(pid, 'SIGINT');
  const deadline = performance.now() + 30_000;
  while (processStart(pid) !== undefined) {
    if (performance.now() > deadline) {
      throw new LauncherError(`Postgres ${pid} still runs on ${folder} and does not end. Stop it, then try again.`);
    }
    await delay(20);
  }
  return 'stopped';
}

function servesFolder(pid: number, folder: string): boolean {
  const commandLine =
    process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  // The whole path: that of a copied clone may contain the path of the original, or be contained in it.
  return commandLine.includes('postgres') && ` ${commandLine} `.includes(` ${folder} `);
}
