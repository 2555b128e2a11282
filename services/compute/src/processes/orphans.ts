import { type Category, StoreUnavailable } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Clock, Logger } from '@interlock/runtime';
import type { FoundGuest, Guests, MachineAtHost } from '../guests/guests.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { VmDisk } from '../vm/machine.ts';
import { isOff, type Machine, type Vm } from '../vm/state.ts';

/**
 * Ends guests that are not those of the record of their machine: the machine is off, or its newest guest was started elsewhere or later.
 * A host took a guest for gone, or did not respond, or the store was restored to an earlier moment. Then removes files of machines that
 * are not there any more. The guests are found before the records are read, so the guest of a later start is never ended.
 * @param isOurs whether this process may touch the guest of a machine
 * @throws StoreUnavailable
 */
export const endOrphans = async (parts: {
  readonly vms: Pick<Category<Vm, VmEvent>, 'load'>;
  readonly found: readonly FoundGuest[];
  readonly log: Logger;
  readonly isOurs: (vm: string) => boolean;
}): Promise<void> => {
  const { vms, found, log, isOurs } = parts;
  for (const guest of found) {
    const { vm } = guest;
    if (!isOurs(vm)) continue;
    try {
      const { state } = await vms.load(vm);
      if (guest.isRunning && !isOfRecord(guest, state)) {
        await guest.end();
        log.warn('ended a guest that is not that of its machine', { vm, ...guest.at });
      } else if (!guest.isRunning && isLeft(guest, state)) {
        await guest.forget();
      }
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      log.warn('a guest that is not that of its machine could not be ended', { vm, ...guest.at, error });
    }
  }
};

/**
 * Takes disks from a guest that its machine does not have any more: its VM host did not respond when they were detached, or got a call
 * that was late. They have no access to their data since then.
 * @param found disks of the guest, found before the record was read
 * @param machine its disks, and the version of its record: a disk that is attached again later stays
 */
export const detachLeft = async (
  guests: Pick<Guests, 'detach'>,
  at: MachineAtHost,
  found: readonly string[],
  machine: { readonly disks: readonly Pick<VmDisk, 'disk'>[]; readonly version: number },
): Promise<void> => {
  for (const disk of found)
    if (!machine.disks.some((one) => one.disk === disk)) await guests.detach(at, disk, machine.version);
};

/**
 * Ends orphans at an interval until `signal` is aborted, in a process that is not the host: no other process sees the guests in
 * its folder.
 */
export const endOrphansUntil = async (
  signal: AbortSignal,
  parts: {
    readonly openCategory: Seams<unknown>['openCategory'];
    readonly guests: Pick<Guests, 'survey'>;
    readonly clock: Clock;
    readonly log: Logger;
    readonly intervalMs: number;
  },
): Promise<void> => {
  const { guests, clock, log, intervalMs } = parts;
  const vms = await parts.openCategory(virtualMachines);
  while (!signal.aborted) {
    try {
      const { found } = await guests.survey();
      await endOrphans({ vms, found, log, isOurs: () => true });
    } catch (error) {
      log.warn('guests were not compared with the records of their machines', { error });
    }
    await clock.sleep(intervalMs, signal);
  }
};

/** Whether the guest is the one that the record of its machine names. One that is being created has none yet and is left to its creation. */
const isOfRecord = ({ at }: FoundGuest, vm: Vm): boolean => {
  if (vm.status !== 'active') return vm.status === 'creating' && at === undefined;
  return !isOff(vm) && (at === undefined || isPlacedAt(vm, at));
};

/** Whether files at a VM host are those of a machine that is deleted, or whose guests are elsewhere by now. */
const isLeft = ({ at }: FoundGuest, vm: Vm): boolean =>
  at !== undefined &&
  vm.status !== 'creating' &&
  (vm.status !== 'active' || !isPlacedAt(vm, { ...at, number: undefined }));

const isPlacedAt = (
  { uniqueId, placement }: Machine,
  at: { readonly machineId: string; readonly host: string; readonly number: number | undefined },
): boolean =>
  uniqueId === at.machineId &&
  placement?.host === at.host &&
  (at.number === undefined || placement.number === at.number);
