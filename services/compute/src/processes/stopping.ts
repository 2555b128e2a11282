import { TimedOut } from '../disks.ts';
import { deallocated, deleted, guestStopped } from '../vm/progress.ts';
import { closeAll, detachOne, evenIfRefused } from './closing.ts';
import { type Busy, causeOf, type ProcessParts, type Step } from './step.ts';

/**
 * Stops a machine. Its guest first and at once, whatever an interrupted start is still waiting for; the machine is off
 * when its guest is, so a disk service that does not answer keeps no machine running (VM-40, VM-42, VM-45).
 */
export const stopping =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks, powerSince }, { signal, settled }) => {
    const { vms, driver, clock, guestStopTimeoutMs, startTimeoutMs } = parts;
    await driver.stop(vm, { graceMs: work.isHard ? 0 : guestStopTimeoutMs });
    if (work.kind === 'restart') {
      await settled();
      try {
        const untilMs = powerSince + startTimeoutMs;
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
    const { driver, disks, vms, clock, log } = parts;
    await driver.stop(vm, { graceMs: parts.guestStopTimeoutMs });
    await settled();
    const { correlationId } = work;
    await Promise.all(
      all.map(async ({ disk, deleteWithVm }) => {
        await detachOne(parts, vm, disk, work, { signal });
        if (!deleteWithVm) return;
        await evenIfRefused(
          disks.insist((client, options) => client.deleteDisk({ name: disk }, { ...options, correlationId }), {
            signal,
          }),
          (error) => log.warn('disk was not deleted with its machine', { vm, disk, error }),
        );
      }),
    );
    return vms.transact(vm, deleted(clock.now(), work.id), causeOf(work));
  };
