import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ServiceName } from '@interlock/local/services.ts';
import { until } from '../cloud/until.ts';

/** How far the clocks of one service are from those of the machine, in milliseconds. */
export interface Shift {
  /** Of the wall clock: an operator set it, or its time server was wrong. */
  readonly wallMs: number;
  /** Of the time since boot, which continues while a machine is suspended and its monotonic clock stops. */
  readonly bootMs: number;
}

/** In which the preload finds the folder of the shifts. */
export const clockFolderVariable = 'INTERLOCK_TEST_CLOCKS';

/** The file of a service's shift, and the one in which the preload says which it has taken over. */
export const clockFiles = (folder: string, service: string) => ({
  wanted: join(folder, `${service}.json`),
  applied: join(folder, `${service}.applied`),
});

/**
 * Lets tests move the clocks of single services. Their settings load `clock-preload.ts` into every service process; it does
 * nothing until a file says how far.
 */
export const clockShift = (folder: string) => {
  const preload = pathToFileURL(join(import.meta.dirname, 'clock-preload.ts')).href;
  return {
    /** For the launcher. */
    settings: { NODE_OPTIONS: `--import=${preload}`, [clockFolderVariable]: folder },
    /** Moves the clocks of a service; resolves once it has them. @throws Error when it does not take them over in time */
    async set(service: ServiceName, shift: Shift): Promise<void> {
      const { wanted, applied } = clockFiles(folder, service);
      const text = JSON.stringify(shift);
      rmSync(applied, { force: true });
      writeFileSync(`${wanted}.new`, text);
      renameSync(`${wanted}.new`, wanted);
      await until(
        `${service} has the clocks ${text}`,
        async () => existsSync(applied) && readFileSync(applied, 'utf8') === text,
        5_000,
      );
    },
  };
};
