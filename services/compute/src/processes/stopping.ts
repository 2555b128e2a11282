import { type Patience, TimedOut } from '../disk-service/disks.ts';
import { machineAt } from '../guests/guests.ts';
import { isToBeClosed } from '../vm/decider.ts';
import type { VmDisk, Work } from '../vm/machine.ts';
import { deallocated, deleted, guestStopped } from '../vm/progress.ts';
import type { Machine } from '../vm/state.ts';
import { closeAll, closeMachines, deleteThat, detachOne, evenIfRefused, lookUp } from './closing.ts';
import { atWork, type Busy, inPower, type Process, type Run, type Step } from './process.ts';

/** The guest ends first and at once, whatever an interrupted start still waits for (VM-45). */
const stopGuest: Step<Busy> = {
  name: 'stop the guest',
  isUrgent: true,
  async effect(run) {
    const { parts, vm, state } = run;
    const { work } = state;
    const graceMs = work.isHard === true ? 0 : parts.guestStopTimeoutMs;
    const left = await parts.guests.stop(machineAt(vm, state), { graceMs, isKeyLost: work.kind === 'keyStop' });
    run.mayGuestRun = left === 'unknown';
  },
};

/** A guest that may run does nothing any more once every disk of its machine is closed (G2). */
const fenceGuest: Step<Busy> = {
  name: 'close the disks of a guest that may run',
  when: ({ mayGuestRun }) => mayGuestRun,
  effect: closeToGuest,
};

const guestStoppedOutcome = {
  decide: ({ parts, state, mayGuestRun }: Run<Busy>) => guestStopped(parts.clock.now(), state.work.id, mayGuestRun),
};

/**
 * Stops a machine. It is off once its guest is, so an unreachable disk service keeps no machine running (VM-40, VM-42). Only if its VM
 * host does not respond either, the machine is off once its disks are closed.
 */
export const stopMachine: Process<Busy> = {
  name: 'stop',
  appliesTo: inPower('stopping', ({ kind }) => kind !== 'restart'),
  steps: [stopGuest, fenceGuest],
  success: { event: 'VmStopped', ...guestStoppedOutcome },
  async afterwards({ parts }, stored) {
    parts.measureStops(stored.events);
    return stored;
  },
};

/** The first half of a restart: what follows is a start (VM-14). */
export const stopForRestart: Process<Busy> = {
  name: 'stop for a restart',
  appliesTo: inPower('stopping', ({ kind }) => kind === 'restart'),
  steps: [
    stopGuest,
    {
      name: 'close the disks',
      async effect({ parts, vm, state: { disks, power }, cause, signal }) {
        const patience = { signal, untilMs: power.since + parts.startTimeoutMs };
        try {
          await closeAll(parts, [{ vm, disks, isDeallocated: false }], cause, patience);
        } catch (error) {
          // The next open ends the one before, so the restart continues without this close.
          if (!(error instanceof TimedOut)) throw error;
        }
      },
    },
  ],
  success: { event: 'VmStarting', ...guestStoppedOutcome },
};

/** Gives the host of a machine back: its guest ends, its disks become RESERVED (VM-13). */
export const deallocateMachine: Process<Busy> = {
  name: 'deallocate',
  appliesTo: inPower('deallocating'),
  steps: [
    stopGuest,
    {
      name: 'close the disks',
      async effect({ parts, vm, state: { disks }, cause, signal }) {
        await closeAll(parts, [{ vm, disks, isDeallocated: true }], cause, { signal });
      },
    },
  ],
  success: { event: 'VmDeallocated', decide: ({ parts, state }) => deallocated(parts.clock.now(), state.work.id) },
};

/** Deletes a machine: its guest ends, its disks are freed, and those that go with it are deleted (VM-17, CMK-131). */
export const deleteMachine: Process<Busy> = {
  name: 'delete',
  appliesTo: atWork(({ kind }) => kind === 'delete'),
  steps: [
    stopGuest,
    {
      name: 'free the disks',
      async effect(run) {
        await Promise.all(run.state.disks.map((disk) => freeOrDelete(run, disk)));
      },
    },
    {
      name: 'remove the folder of the guest',
      async effect({ parts, vm, state }) {
        await parts.guests.forget(machineAt(vm, state));
      },
    },
  ],
  success: { event: 'VmDeleted', decide: ({ parts, state }) => deleted(parts.clock.now(), state.work.id) },
};

/** Closes the disks of a machine that is off, and frees what was being attached to it or detached from it. */
export const closeDisks: Process<Machine> = {
  name: 'close disks of virtual machine',
  appliesTo: (vm) => (vm.status === 'active' && isToBeClosed(vm) ? vm : undefined),
  steps: [
    {
      name: 'close the disks',
      async effect({ parts, vm, state, signal, loaded: { version } }) {
        await closeMachines(parts, [{ id: vm, state, version }], { signal });
      },
    },
  ],
  // Stored by the step, in one commit for many machines.
  success: { event: 'DisksClosed' },
};

/** Closes every disk of a machine, so that a guest that its VM host may still run reads and writes nothing. */
export async function closeToGuest({ parts, vm, loaded, cause, signal }: Run<Busy>): Promise<undefined> {
  const { state } = loaded;
  const disks = state.status === 'active' ? state.disks : [];
  await closeAll(parts, [{ vm, disks, isDeallocated: false }], cause, { signal });
}

const freeOrDelete = async ({ parts, vm, state: { work }, cause, signal }: Run<Busy>, one: VmDisk): Promise<void> => {
  const { disk, deleteWithVm, attachRequest } = one;
  const patience = { signal };
  const own = deleteWithVm ? await idOfOwn(parts, vm, one, work, patience) : undefined;
  await detachOne(parts, vm, disk, cause, patience, attachRequest);
  if (own === undefined) return;
  await evenIfRefused(deleteThat(parts, disk, own, cause, patience), (error) =>
    parts.log.warn('disk was not deleted with its machine', { vm, disk, error }),
  );
};

/**
 * The unique id of a disk that is deleted with its machine; `undefined` once it is gone. If an earlier run freed it and then
 * crashed, another disk may have its name. A free disk has no holder to compare, so its creation time decides, and the
 * number of its opens, because the clock of the disk service may be behind.
 */
const idOfOwn = async (
  { disks }: Run<Busy>['parts'],
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
