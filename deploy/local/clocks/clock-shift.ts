import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { LauncherError } from '../data-folder.ts';
import type { HostName, StoreOwner } from '../services.ts';

/** What has clocks of its own. */
export type ClockOwner = StoreOwner | HostName;

/** How far the clocks of one service differ from those of the machine, in milliseconds. */
export interface Shift {
  /** Of the wall clock: an operator set it, or its time server was wrong. */
  readonly wallMs: number;
  /** Of the time since boot, which continues while a machine is suspended and its monotonic clock stops. */
  readonly bootMs: number;
}

/** The variable that holds the folder of the shifts, for the preload. */
const clockFolderVariable = 'INTERLOCK_TEST_CLOCKS';
/** A running service applies its shift within this time, in milliseconds, even on a busy machine. It reads the file every 10 ms. */
const takenWithinMs = 15_000;
const lookMs = 20;

/** The file of a service's shift, and the file in which the preload reports the shift that it has applied. */
const clockFiles = (folder: string, service: ClockOwner) => ({
  wanted: join(folder, `${service}.json`),
  applied: join(folder, `${service}.applied`),
});

/**
 * Shifts the clocks of single services. Their settings load `clock-preload.ts` into every service process, which does nothing until
 * a file has a shift. A service that starts later reads the file too.
 */
export const clockShift = (folder: string) => {
  const preload = pathToFileURL(join(import.meta.dirname, 'clock-preload.ts')).href;
  return {
    /** For the launcher. */
    settings: { NODE_OPTIONS: `--import=${preload}`, [clockFolderVariable]: folder },
    /** The latest shift of the service. */
    of(service: ClockOwner): Shift {
      const { wanted } = clockFiles(folder, service);
      return existsSync(wanted) ? JSON.parse(readFileSync(wanted, 'utf8')) : { wallMs: 0, bootMs: 0 };
    },
    /** Shifts the clocks of a service, and resolves once the service has applied it. @throws LauncherError if it does not within 15 s */
    async set(service: ClockOwner, shift: Shift): Promise<void> {
      const { wanted, applied } = clockFiles(folder, service);
      const text = JSON.stringify(shift);
      rmSync(applied, { force: true });
      writeFileSync(`${wanted}.new`, text);
      renameSync(`${wanted}.new`, wanted);
      const deadline = performance.now() + takenWithinMs;
      while (!existsSync(applied) || readFileSync(applied, 'utf8') !== text) {
        if (performance.now() > deadline) {
          throw new LauncherError(
            `${service} has not taken over the clocks ${text} within ${takenWithinMs / 1_000} s: does it run?`,
          );
        }
        await sleep(lookMs);
      }
    },
  };
};
