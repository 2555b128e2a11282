import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@interlock/runtime';
import { guestFiles } from '../guest/plan.ts';

/** A running guest as its driver holds it, started by this process or found from an earlier one. */
export interface GuestProcess {
  readonly pid: number;
  /** Resolves once the process is gone. */
  readonly ended: Promise<void>;
}

/** How often a process that is not a child is looked for, in milliseconds. */
const lookMs = 25;

/** Finds the guest of a folder that an earlier run of this service started; `undefined` when it is gone. */
export const findGuest = (folder: string, clock: Clock): GuestProcess | undefined => {
  const pid = guestPid(folder);
  return pid === undefined ? undefined : { pid, ended: untilGone(folder, [pid], clock) };
};

/** Resolves once the processes of a guest are gone: these, and the QEMU of a machine in QEMU, which ends with its guest process. */
export const untilGone = async (folder: string, pids: readonly number[], clock: Clock): Promise<void> => {
  const isLeft = (pid: number | undefined): boolean => pid !== undefined && isGuest(pid, folder);
  while (pids.some(isLeft) || isLeft(pidIn(join(folder, guestFiles.qemuPid)))) await clock.sleep(lookMs);
};

/** The process id of the running guest of a folder; `undefined` if none runs. */
export const guestPid = (folder: string): number | undefined => {
  const pid = pidIn(join(folder, guestFiles.pid));
  return pid !== undefined && isGuest(pid, folder) ? pid : undefined;
};

const pidIn = (path: string): number | undefined => {
  const text = textOf(path);
  const pid = Number(text);
  return text !== undefined && Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
};

/**
 * Identifies a run of the host: this boot, and the process that guests end with. A guest of another run is gone for that
 * reason. A process id may be used again, with another start time.
 */
export const hostRun = (parentPid: number | undefined): string => {
  const boot = textOf('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  if (parentPid === undefined) return boot;
  // The name in the second field may have spaces and brackets; the start time is the 20th field after it.
  const startedAt = textOf(`/proc/${parentPid}/stat`)?.split(') ').at(-1)?.split(' ')[19] ?? '';
  return [boot, parentPid, startedAt].join(':');
};

/** Whether that process is the guest of the folder: a process id may belong to another by now. */
const isGuest = (pid: number, folder: string): boolean => {
  const commandLine = textOf(`/proc/${pid}/cmdline`);
  // A process that ended and was not waited for has no command line any more.
  if (commandLine !== undefined) return commandLine.split('\0').includes(folder);
  return textOf('/proc/self/cmdline') === undefined && exists(pid);
};

const exists = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    // In any case it is no process of this service.
    return false;
  }
};

const textOf = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
};

/** Sends a signal; a process that is gone needs none. */
export const signalGuest = ({ pid }: GuestProcess, name: 'SIGTERM' | 'SIGKILL' | 'SIGHUP'): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};
