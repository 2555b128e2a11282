import { type Category, StoreUnavailable } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Clock, Logger } from '@interlock/runtime';
import type { RunningGuest, VmHost } from '../guests/vm-host.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { isOff, type Vm } from '../vm/state.ts';

/**
 * Ends guests whose machine is off by its record: a host took them for gone, or the store was restored to an earlier moment.
 * The guests are listed before the records are read, so the guest of a later start is never ended.
 * @param isOurs whether this process may touch the guest of a machine
 * @throws StoreUnavailable
 */
export const endOrphans = async (parts: {
  readonly vms: Pick<Category<Vm, VmEvent>, 'load'>;
  readonly driver: Pick<VmHost, 'runningGuests'>;
  readonly log: Logger;
  readonly isOurs: (vm: string) => boolean;
}): Promise<void> => {
  const { vms, driver, log, isOurs } = parts;
  for (const { vm, end } of await listed(driver, log)) {
    if (!isOurs(vm)) continue;
    try {
      if (!isWithoutGuest((await vms.load(vm)).state)) continue;
      await end();
      log.warn('ended the guest of a machine that is off', { vm });
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      log.warn('the guest of a machine that is off could not be ended', { vm, error });
    }
  }
};

/** The guests that run; none if the folder cannot be read. */
const listed = async (driver: Pick<VmHost, 'runningGuests'>, log: Logger): Promise<readonly RunningGuest[]> => {
  try {
    return await driver.runningGuests();
  } catch (error) {
    log.warn('the guests of this host could not be listed', { error });
    return [];
  }
};

/**
 * Ends orphans at an interval until `signal` is aborted, in a process that is not the host: no other process sees the guests in
 * its folder.
 */
export const endOrphansUntil = async (
  signal: AbortSignal,
  parts: {
    readonly openCategory: Seams<unknown>['openCategory'];
    readonly driver: VmHost;
    readonly clock: Clock;
    readonly log: Logger;
    readonly intervalMs: number;
  },
): Promise<void> => {
  const { driver, clock, log, intervalMs } = parts;
  const vms = await parts.openCategory(virtualMachines);
  while (!signal.aborted) {
    try {
      await endOrphans({ vms, driver, log, isOurs: () => true });
    } catch (error) {
      log.warn('guests were not compared with the records of their machines', { error });
    }
    await clock.sleep(intervalMs, signal);
  }
};

/** Whether no guest may run for the machine. One that is being created has none yet and is left to its creation. */
const isWithoutGuest = (vm: Vm): boolean => (vm.status === 'active' ? isOff(vm) : vm.status !== 'creating');
