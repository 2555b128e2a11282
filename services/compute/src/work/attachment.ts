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
import { Interrupted, orInterrupted, type Patience } from './disks.ts';
import { failureOf, lossBehind } from './failures.ts';
import { openAll } from './opening.ts';
import { type Busy, causeOf, isStillAt, type ProcessParts, type Step, stopIfLossMissed } from './step.ts';

/**
 * Attaches a disk. A running machine gets it at once, with a fresh unwrap (VM-18). When that is refused, it is decided first
 * that the disk is to be freed, and recorded as failed once it is (CMK-110): two processes may work on it, of which one is
 * refused what the other was given.
 */
export const attaching =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, machine, { signal, settled }) => {
    const { vms, clock } = parts;
    const { work } = machine;
    const disk = machine.disks.find((one) => one.disk === work.disk);
    if (!disk) throw new Error('a disk that is being attached is among the disks of its machine');
    const cause = causeOf(work);
    await settled();
    if (work.undo !== undefined) {
      await parts.driver.detach(vm, disk.disk);
      await detachOne(parts, vm, disk.disk, work, { signal }, work.id);
      return vms.transact(vm, diskAttachFailed(clock.now(), work.id, work.undo), cause);
    }
    try {
      const patience = { signal, untilMs: work.at + parts.startTimeoutMs };
      await reserve(parts, vm, machine, disk, patience);
      if (machine.power.state === 'running' && !(await handOver(parts, vm, machine, disk, patience))) return undefined;
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const at = clock.now();
      const failure = failureOf(error, lossBehind(error, disk, at), work, vm, at);
      return vms.transact(vm, undoAttach(at, work.id, failure), cause);
    }
    return vms.transact(vm, diskAttached(clock.now(), work.id), cause);
  };

/** Makes the disk this machine's at the disk service; without a host it is RESERVED (VM-07). */
const reserve = async (
  { disks, vms, clock }: ProcessParts,
  vm: string,
  { work, power }: Busy,
  { disk, isOs }: VmDisk,
  patience: Patience,
): Promise<void> => {
  const { correlationId } = work;
  const request = { name: disk, virtualMachine: vm, requestId: work.id, osDisk: isOs };
  const found = await disks.insist(
    (client, options) => client.attachDisk(request, { ...options, correlationId }),
    patience,
  );
  // Its key may have changed between the look at it and the attach, while nobody told this machine of its facts.
  const { keyVersion, encryption, etag } = found;
  const seen = { disk, set: encryption?.diskEncryptionSet ?? '', keyVersion, diskVersion: Number(etag) };
  await vms.transact(vm, diskKeyChanged(clock.now(), seen), causeOf(work));
  if (power.state !== 'deallocated') return;
  const reserved = { name: disk, virtualMachine: vm, deallocated: true, attachEpoch: 0 };
  const [refused] = await closeEach(disks, [reserved], { correlationId }, patience);
  if (refused) throw refused.refusal;
};

/** Opens the disk and gives it to the guest. @returns false when the machine is being stopped instead */
const handOver = async (
  parts: ProcessParts,
  vm: string,
  { work }: Busy,
  disk: VmDisk,
  patience: Patience,
): Promise<boolean> => {
  const outcome = await openAll(parts, vm, work, [{ ...disk, attachEpoch: 0 }], patience);
  const { opened, guestDisks, failures } = outcome;
  const [failure] = failures;
  if (failure) throw failure.error;
  const [guestDisk] = guestDisks;
  if (!guestDisk) throw new Error('a disk was either opened or not');
  const now = await parts.vms.transact(vm, disksOpened(parts.clock.now(), work.id, opened), causeOf(work));
  if (!isStillAt(now.state, work) || (await stopIfLossMissed(parts, now, outcome))) return false;
  if (patience.signal.aborted) throw new Interrupted('stopped before the guest got the disk');
  await orInterrupted(parts.driver.attach(vm, guestDisk), patience.signal);
  return true;
};

/** Takes a disk from the guest, if it runs, and frees it. Needs no key (VM-48). */
export const detaching =
  (parts: ProcessParts): Step<Busy> =>
  async (vm, { work, disks }, { signal, settled }) => {
    if (work.disk === undefined) throw new Error('work that detaches names the disk');
    await settled();
    await parts.driver.detach(vm, work.disk);
    // Of what a stop has left half attached, the attach may still be on its way.
    const attachRequest = disks.find(({ disk }) => disk === work.disk)?.attachRequest;
    await detachOne(parts, vm, work.disk, work, { signal }, attachRequest);
    return parts.vms.transact(vm, diskDetached(parts.clock.now(), work.id), causeOf(work));
  };
