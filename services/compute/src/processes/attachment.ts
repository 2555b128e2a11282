import { Interrupted, orInterrupted, type Patience } from '../disk-service/disks.ts';
import { machineAt } from '../guests/guests.ts';
import type { VmDisk } from '../vm/machine.ts';
import {
  diskAttached,
  diskAttachFailed,
  diskDetached,
  diskKeyChanged,
  disksOpened,
  undoAttach,
} from '../vm/progress.ts';
import { closeEach, detachOne } from './closing.ts';
import { failureOf } from './failures.ts';
import { stopIfLossMissed } from './missed-losses.ts';
import { openAll, withEachDisk } from './opening.ts';
import { atWork, type Busy, type Ended, isStillAt, type Process, type Run, type Step } from './process.ts';

/**
 * Attaches a disk. A running machine gets it at once, with a fresh unwrap (VM-18). When the attach is refused, the machine
 * first stores that the disk is to be freed, and the failure once it is free (CMK-110): of two replicas at this work, one may
 * be refused what the other was granted.
 */
export const attachDisk: Process<Busy> = {
  name: 'attach',
  appliesTo: atWork(({ kind, undo }) => kind === 'attach' && undo === undefined),
  steps: [
    { name: 'attach the disk', effect: attach },
    { name: 'reserve the disk', when: ({ state }) => state.power.state === 'deallocated', effect: reserve },
    { name: 'open the disk', when: isRunning, effect: open },
    { name: 'give the disk to the guest', when: isRunning, effect: giveToGuest },
  ],
  success: { event: 'DiskAttachedToVm', decide: ({ parts, state }) => diskAttached(parts.clock.now(), state.work.id) },
  failure: {
    event: 'DiskAttachUndoing',
    decide({ parts, vm, state: { work } }, error) {
      const at = parts.clock.now();
      return undoAttach(at, work.id, failureOf(error, work, vm, at));
    },
  },
};

const takeFromGuest: Step<Busy> = {
  name: 'take the disk from the guest',
  async effect({ parts, vm, state, loaded }) {
    await parts.guests.detach(machineAt(vm, state), diskName(state), loaded.version);
  },
};

const freeDisk: Step<Busy> = {
  name: 'free the disk',
  async effect({ parts, vm, state, cause, signal }) {
    const { work, disks } = state;
    // The attach of a disk that a stop left half attached may still be on its way.
    const attachRequest = disks.find(({ disk }) => disk === work.disk)?.attachRequest;
    await detachOne(parts, vm, diskName(state), cause, { signal }, attachRequest);
  },
};

/** Frees the disk of an attach that failed. */
export const undoAttachment: Process<Busy> = {
  name: 'undo attach',
  appliesTo: atWork(({ kind, undo }) => kind === 'attach' && undo !== undefined),
  steps: [takeFromGuest, freeDisk],
  success: {
    event: 'DiskAttachFailed',
    decide: ({ parts, state: { work } }) =>
      work.undo === undefined ? () => [] : diskAttachFailed(parts.clock.now(), work.id, work.undo),
  },
};

/** Takes a disk from the guest, if it runs, and frees it. Needs no key (VM-48). */
export const detachDisk: Process<Busy> = {
  name: 'detach',
  appliesTo: atWork(({ kind }) => kind === 'detach'),
  steps: [takeFromGuest, freeDisk],
  success: {
    event: 'DiskDetachedFromVm',
    decide: ({ parts, state }) => diskDetached(parts.clock.now(), state.work.id),
  },
};

function isRunning({ state }: Run<Busy>): boolean {
  return state.power.state === 'running';
}

const diskName = ({ work }: Busy): string => {
  if (work.disk === undefined) throw new Error(`work of kind ${work.kind} names no disk`);
  return work.disk;
};

const attachedDisk = (state: Busy): VmDisk => {
  const name = diskName(state);
  const disk = state.disks.find((one) => one.disk === name);
  if (!disk) throw new Error(`${name} is being attached and is not among the disks of its machine`);
  return disk;
};

const patienceOf = ({ parts, state, signal }: Run<Busy>): Patience => ({
  signal,
  untilMs: state.work.at + parts.startTimeoutMs,
});

/** Makes the disk this machine's at the disk service. */
async function attach(run: Run<Busy>): Promise<undefined> {
  const { parts, vm, state, cause } = run;
  const { id: requestId } = state.work;
  const [found] = await withEachDisk(run, [attachedDisk(state)], patienceOf(run), ({ disk, isOs }, patience) =>
    parts.disks.insist(
      (client, options) =>
        client.attachDisk({ name: disk, virtualMachine: vm, requestId, osDisk: isOs }, { ...options, cause }),
      patience,
    ),
  );
  if (found === undefined) return;
  // The key may have changed between the lookup and the attach: until now no fact of this disk reached this machine.
  const { keyVersion, encryption, etag } = found;
  const seen = {
    ...{ disk: diskName(state), set: encryption?.diskEncryptionSet ?? '', keyVersion },
    diskVersion: Number(etag),
  };
  await parts.vms.transact(vm, diskKeyChanged(parts.clock.now(), seen), cause, { step: 'work' });
}

/** Without a host the disk is RESERVED (VM-07). */
async function reserve(run: Run<Busy>): Promise<undefined> {
  const { parts, vm, state, cause } = run;
  const reserved = { name: diskName(state), virtualMachine: vm, deallocated: true, attachEpoch: 0, cause: '' };
  const [refused] = await closeEach(parts.disks, [reserved], cause, patienceOf(run));
  if (refused) throw refused.refusal;
}

/** Opens the disk and stores that. */
async function open(run: Run<Busy>): Promise<Ended | undefined> {
  const { parts, vm, state, cause } = run;
  run.opening = await openAll(run, [{ ...attachedDisk(state), attachEpoch: 0 }], patienceOf(run));
  const decision = disksOpened(parts.clock.now(), state.work.id, run.opening.opened);
  run.loaded = await parts.vms.transact(vm, decision, cause, { step: 'work' });
  const isReplaced = !isStillAt(run.loaded.state, state.work) || (await stopIfLossMissed(run, run.loaded));
  return isReplaced ? { ended: undefined } : undefined;
}

async function giveToGuest({ parts, vm, state, signal, opening, loaded }: Run<Busy>): Promise<undefined> {
  if (signal.aborted) throw new Interrupted('stopped before the guest got the disk');
  for (const disk of opening?.guestDisks ?? []) {
    await orInterrupted(parts.guests.attach(machineAt(vm, state), disk, loaded.version), signal);
  }
}
