import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../cloud/until.ts';

/** The process of a machine's guest, looked up in the system's own list of processes; undefined if it has none. */
export const guestPid = (folder: string, machine: string): number | undefined => {
  const own = join(folder, ...machine.split('/'));
  const file = join(own, 'guest.pid');
  if (!existsSync(file)) return undefined;
  const pid = Number(readFileSync(file, 'utf8'));
  const commandLine = `/proc/${pid}/cmdline`;
  // A number that belongs to another process by now is no guest.
  return existsSync(commandLine) && readFileSync(commandLine, 'utf8').split('\0').includes(own) ? pid : undefined;
};

/**
 * Waits until the guests of these machines are gone.
 * @returns when each was first seen gone, in milliseconds since the epoch
 * @throws Error naming those that still run
 */
export const guestsEnd = async (
  folder: string,
  machines: readonly string[],
  limitMs: number,
): Promise<ReadonlyMap<string, number>> => {
  const ended = new Map<string, number>();
  await until(
    `the guests of ${machines.join(', ')} have ended`,
    async () => {
      for (const machine of machines) {
        if (!ended.has(machine) && guestPid(folder, machine) === undefined) ended.set(machine, Date.now());
      }
      return ended.size === machines.length;
    },
    limitMs,
  );
  return ended;
};
