import { existsSync } from 'node:fs';
import { type Clock, systemClock } from '@interlock/runtime/clock';

/** How often a guest checks whether it is still needed, in milliseconds. */
const lookMs = 500;

/** The clock of guests: monotonic time is the same in every process of this host, so that entries of several can be ordered. */
export const guestClock: Clock = {
  ...systemClock,
  monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
  bootMs: () => Number(process.hrtime.bigint()) / 1e6,
};

/**
 * Calls `end` once the guest is not needed any more: it has no plan, or its parent process is gone.
 * @param look called at each check, twice a second
 */
export const endWhenUnneeded = async (parts: {
  readonly planFile: string;
  readonly parentPid: number | undefined;
  readonly look: () => void;
  readonly end: () => void;
}): Promise<void> => {
  const { planFile, parentPid, look, end } = parts;
  for (;;) {
    await guestClock.sleep(lookMs);
    look();
    if (!existsSync(planFile) || (parentPid !== undefined && !exists(parentPid))) end();
  }
};

const exists = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: it exists and belongs to another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
};
