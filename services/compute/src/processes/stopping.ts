import { Rejection } from '@interlock/event-store';
import { type Patience, TimedOut } from '../disks.ts';
import type { Machine } from '../vm/decider.ts';
import type { VmDisk, Work } from '../vm/machine.ts';
import { deallocated, deleted, disksClosed, guestStopped } from '../vm/progress.ts';
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
        await closeAll(parts, vm, disks, { isDeallocated: false }, work, {
          signal,
          untilMs: powerSince + startTimeoutMs,
        });
      } catch (error) {
        // An open ends the one before: what could not be closed in time does no harm.
        if (!(error instanceof TimedOut)) throw error;
      }
    }
    const { events } = await vms.transact(vm, guestStopped(clock.now(), work.id), causeOf(work));
    parts.measureStops(events);
  };

/** Closes the disks of a machine that is off, and frees what was being attached to it or detached from it. */
export const closing =
  (parts: ProcessParts): Step<Machine> =>
  async (vm, machine, { signal, settled }) => {
    await settled();
    const isDeallocated = machine.power === 'deallocated';
    const open = machine.disks.filter(({ access }) => access === 'closing');
    await closeAll(parts, vm, open, { isDeallocated }, undefined, { signal });
    const id = parts.random.uuid();
    const cause = { correlationId: id, causationId: id, caller: 'system:compute' };
    await parts.vms.transact(vm, disksClosed(parts.clock.now()), cause);
  };

/** Gives the host of a machine back: its guest ends, its disks become RESERVED (VM-13). */
export const deallocating =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks }, { signal, settled }) => {
    await parts.driver.stop(vm, { graceMs: parts.guestStopTimeoutMs });
    await settled();
    await closeAll(parts, vm, disks, { isDeallocated: true }, work, { signal });
    await parts.vms.transact(vm, deallocated(parts.clock.now(), work.id), causeOf(work));
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
    await vms.transact(vm, deleted(clock.now(), work.id), causeOf(work));
  };

/** Frees a disk. A refusal means that this machine does not have it (any more). */
export const detachOne = (
  { disks, log }: ProcessParts,
  vm: string,
  disk: string,
  work: Work | undefined,
  patience: Patience,
): Promise<void> =>
  evenIfRefused(
    disks.insist(
      (client, options) => client.detachDisk({ name: disk, virtualMachine: vm }, { ...options, ...correlated(work) }),
      patience,
    ),
    (error) => log.warn('disk was not detached', { vm, disk, error }),
  );

/** Ends the reads and writes of a machine on its disks; what is not wholly attached is freed. Works without any key. */
export const closeAll = async (
  parts: ProcessParts,
  vm: string,
  all: readonly VmDisk[],
  { isDeallocated }: { readonly isDeallocated: boolean },
  work: Work | undefined,
  patience: Patience,
): Promise<void> => {
  const { disks, log } = parts;
  await Promise.all(
    all.map((one) => {
      const { disk, phase } = one;
      if (phase !== 'attached') return detachOne(parts, vm, disk, work, patience);
      const close = async (): Promise<void> => {
        const attachEpoch = await openToEnd(parts, vm, one, isDeallocated, patience);
        if (attachEpoch === undefined) return;
        const request = { name: disk, virtualMachine: vm, deallocated: isDeallocated, attachEpoch };
        await disks.insist(
          (client, options) => client.closeDisk(request, { ...options, ...correlated(work) }),
          patience,
        );
      };
      return evenIfRefused(close(), (error) => log.warn('disk was not closed', { vm, disk, error }));
    }),
  );
};

/**
 * The open that is to end, and no later one: another replica may have started the machine again before the close arrives.
 * Only of an open that is on record the number is known here; else it is asked for, and counts only if the machine has
 * not moved since. A host that is given back is told of every disk, so there it is looked at again.
 * @returns `undefined` when there is nothing to end any more
 */
const openToEnd = async (
  { disks, vms }: ProcessParts,
  vm: string,
  known: VmDisk,
  isDeallocated: boolean,
  patience: Patience,
): Promise<number | undefined> => {
  for (let disk = known; ; ) {
    const { access, attachEpoch, isOpenUnsure } = disk;
    if (isOpenUnsure !== true && (access === 'open' || (access === 'closing' && !isDeallocated))) return attachEpoch;
    const newest = await disks.insist((client, options) => client.getDisk({ name: disk.disk }, options), patience);
    const { state } = await vms.load(vm);
    const now = state.status === 'active' ? state.disks.find((one) => one.disk === disk.disk) : undefined;
    if (!now) return undefined;
    if (now.access === access && now.isOpenUnsure === isOpenUnsure && now.attachEpoch === attachEpoch) {
      return newest.attachEpoch;
    }
    if (!isDeallocated) return undefined;
    disk = now;
  }
};

const correlated = (work: Work | undefined): { readonly correlationId?: string } =>
  work === undefined ? {} : { correlationId: work.correlationId };

/** A definite no to ending something (it is gone, somebody else has it) is as good as a yes, but worth a line. */
const evenIfRefused = async (result: Promise<unknown>, note: (error: unknown) => void): Promise<void> => {
  try {
    await result;
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    note(error);
  }
};
