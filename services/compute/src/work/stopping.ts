import type { VmDisk, Work } from '../vm/machine.ts';
import { deallocated, deleted, guestStopped } from '../vm/progress.ts';
import { closeAll, deleteThat, detachOne, evenIfRefused, lookUp } from './closing.ts';
import { type Patience, TimedOut } from './disks.ts';
import { type Busy, causeOf, type ProcessParts, type Step } from './step.ts';

/**
 * Stops a machine. Its guest first and at once, whatever an interrupted start is still waiting for; the machine is off
 * when its guest is, so a disk service that does not answer keeps no machine running (VM-40, VM-42, VM-45).
 */
export const stopping =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks, power }, { signal, settled }) => {
    const { vms, driver, clock, guestStopTimeoutMs, startTimeoutMs } = parts;
    await driver.stop(vm, { graceMs: work.isHard ? 0 : guestStopTimeoutMs });
    if (work.kind === 'restart') {
      await settled();
      try {
        const untilMs = power.since + startTimeoutMs;
        await closeAll(parts, [{ vm, disks, isDeallocated: false }], work, { signal, untilMs });
      } catch (error) {
        // An open ends the one before: what could not be closed in time does no harm.
        if (!(error instanceof TimedOut)) throw error;
      }
    }
    const after = await vms.transact(vm, guestStopped(clock.now(), work.id), causeOf(work));
    parts.measureStops(after.events);
    return after;
  };

/** Gives the host of a machine back: its guest ends, its disks become RESERVED (VM-13). */
export const deallocating =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks }, { signal, settled }) => {
    await parts.driver.stop(vm, { graceMs: parts.guestStopTimeoutMs });
    await settled();
    await closeAll(parts, [{ vm, disks, isDeallocated: true }], work, { signal });
    return parts.vms.transact(vm, deallocated(parts.clock.now(), work.id), causeOf(work));
  };

/** Deletes a machine: its guest ends, its disks are freed, and those that go with it are deleted (VM-17, CMK-131). */
export const deleting =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks: all }, { signal, settled }) => {
    const { driver, vms, clock, log } = parts;
    await driver.stop(vm, { graceMs: parts.guestStopTimeoutMs });
    await settled();
    const patience = { signal };
    await Promise.all(
      all.map(async (one) => {
        const { disk, deleteWithVm, attachRequest } = one;
        const own = deleteWithVm ? await idOfOwn(parts, vm, one, work, patience) : undefined;
        await detachOne(parts, vm, disk, work, patience, attachRequest);
        if (own === undefined) return;
        await evenIfRefused(deleteThat(parts, disk, own, work, patience), (error) =>
          log.warn('disk was not deleted with its machine', { vm, disk, error }),
        );
      }),
    );
    await driver.forget(vm);
    return vms.transact(vm, deleted(clock.now(), work.id), causeOf(work));
  };

/**
 * The id of a disk that goes with its machine; `undefined` once it is gone. Where it was freed before, and what followed did not come
 * to its end, its name may be somebody else's by now: then who has it does not tell whose it is, but when it was made does, and how
 * often it was opened: the clock of who made it may be behind.
 */
const idOfOwn = async (
  { disks }: ProcessParts,
  vm: string,
  { disk: name, attachEpoch: opened }: VmDisk,
  work: Work,
  patience: Patience,
): Promise<string | undefined> => {
  const found = await disks.insist((client, options) => lookUp(client, name, options), patience);
  if (found === undefined) return undefined;
  const { managedBy, createTime, attachEpoch, uniqueId } = found;
  const isAsOld = createTime !== undefined && createTime.getTime() <= work.at && attachEpoch >= opened;
  return managedBy === vm || isAsOld ? uniqueId : undefined;
};
