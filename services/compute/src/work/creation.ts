import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { asKnownBy } from '../vm/disk-state.ts';
import type { OpenedDisk } from '../vm/events.ts';
import type { KeyLoss, PlannedDisk, Wish, Work } from '../vm/machine.ts';
import { created, creationFailed, disksOpened, undoCreation } from '../vm/progress.ts';
import type { Creating, Vm } from '../vm/state.ts';
import { encryptionTypeOf } from '../vm/wire-encryption.ts';
import { deleteThat, detachOne, evenIfRefused } from './closing.ts';
import { callDeadlineMs, type Patience } from './disks.ts';
import { failureOf } from './failures.ts';
import { openAll, worstOf } from './opening.ts';
import { causeOf, isStillAt, type ProcessParts, type Step, stopIfLossMissed } from './step.ts';

/**
 * Makes a machine: its new disks, then every disk attached and opened (VM-10). Only then is there a machine, whose guest
 * the start then brings up. When anything refuses, it is decided first that all of it is to be undone, and recorded as failed
 * once nothing is left of it (CMK-110): two processes may work on it, of which one is refused what the other was given.
 */
export const creation =
  (parts: ProcessParts): Step<Creating> =>
  async (vm, creating, { signal, settled }) => {
    const { vms, clock, losses } = parts;
    const { work, disks } = creating;
    const cause = causeOf(work);
    await settled();
    if (work.undo !== undefined) {
      await undo(parts, vm, creating, () => unknownFate, { signal });
      return vms.transact(vm, creationFailed(clock.now(), work.id, work.undo), cause);
    }
    const wanted = disks.map((disk) => ({ ...disk, attachEpoch: 0 }));
    const limits = { signal, untilMs: work.at + parts.startTimeoutMs };
    const plan = new Map(disks.map((disk) => [disk.disk, { ...disk, fate: newFate() }]));
    const outcome = await openAll(parts, vm, work, wanted, limits, async ({ disk }, patience) => {
      const planned = plan.get(disk);
      if (planned) await obtain(parts, vm, creating, planned, patience);
    });
    const { opened, failures } = outcome;

    /** Undoes what this run did, unless there is a machine that has it. */
    const undoUnlessMade = async (decided: Loaded<Vm>): Promise<Loaded<Vm>> => {
      const { state } = decided;
      if (isMade(state, creating)) return decided;
      await undo(parts, vm, creating, (disk) => plan.get(disk)?.fate ?? newFate(), { signal });
      const why = state.status === 'creating' ? state.work.undo : undefined;
      return why === undefined ? decided : vms.transact(vm, creationFailed(clock.now(), work.id, why), cause);
    };
    const fail = async (error: unknown, loss: KeyLoss | undefined): Promise<Loaded<Vm>> => {
      const at = clock.now();
      return undoUnlessMade(
        await vms.transact(vm, undoCreation(at, work.id, failureOf(error, loss, work, vm, at)), cause),
      );
    };
    const worst = worstOf(failures);
    if (worst) return fail(worst.error, worst.loss);
    // Not acknowledged yet, so a loss in between makes it fail as a whole (G2).
    let missed = await losses.missedBy(opened);
    if (missed) missed = await losses.missedBy(asKnownBy((await vms.load(vm)).state, opened));
    if (missed) {
      const { cause: _cause, isOver: _over, ...loss } = missed;
      return fail(undefined, { ...loss, disk: firstUnder(opened, loss.set, loss.keyVersion) });
    }
    const decided = await vms.transact(vm, created(clock.now(), work.id, opened), cause);
    const isLate = decided.events.length === 0 && isMade(decided.state, creating);
    const after = isLate
      ? await vms.transact(vm, disksOpened(clock.now(), work.id, opened), cause)
      : await undoUnlessMade(decided);
    return isStillAt(after.state, work) && (await stopIfLossMissed(parts, after, outcome)) ? undefined : after;
  };

/** Whether what was being made became a machine, be it that it is gone again. */
const isMade = (vm: Vm, { createdAt }: Creating): boolean =>
  vm.status === 'deleted' || (vm.status === 'active' && vm.createdAt === createdAt);

const firstUnder = (opened: readonly OpenedDisk[], set: string, keyVersion: string): string =>
  opened.find((disk) => disk.set === set && disk.keyVersion === keyVersion)?.disk ?? '';

/** How far a disk got in this run, for whoever has to undo it. A call without an answer may still be carried out. */
interface Fate {
  /** `taken`: somebody else's disk has the name. */
  make: 'not asked' | 'unsure' | 'made' | 'taken';
  attach: 'not asked' | 'unsure' | 'answered';
  /** Unique id of the disk that was made, once that was answered. */
  madeId?: string;
}

const newFate = (): Fate => ({ make: 'not asked', attach: 'not asked' });

/** How far a disk got where another run, or another process, was at it. */
const unknownFate: Fate = { make: 'unsure', attach: 'unsure' };

/** Makes the disk if it is new, and attaches it. */
const obtain = async (
  { disks }: ProcessParts,
  vm: string,
  { wish, work }: Creating,
  planned: PlannedDisk & { readonly fate: Fate },
  patience: Patience,
): Promise<void> => {
  const { correlationId } = work;
  const { disk: name, make, isOs, fate } = planned;
  if (make) {
    const request = makingOf(name, make, wish);
    fate.make = 'unsure';
    try {
      const { uniqueId } = await disks.insist(
        (client, options) => client.createDisk(request, { ...options, correlationId }),
        patience,
      );
      fate.make = 'made';
      fate.madeId = uniqueId;
    } catch (error) {
      if (error instanceof Rejection) fate.make = error.code === 'ALREADY_EXISTS' ? 'taken' : 'not asked';
      throw error;
    }
  }
  const request = { name, virtualMachine: vm, requestId: work.id, osDisk: isOs };
  fate.attach = 'unsure';
  try {
    await disks.insist((client, options) => client.attachDisk(request, { ...options, correlationId }), patience);
    fate.attach = 'answered';
  } catch (error) {
    if (error instanceof Rejection) fate.attach = 'answered';
    throw error;
  }
};

/** The request that makes a disk. The same one again makes nothing: it is answered with that disk, or refused where it is another. */
const makingOf = (name: string, make: NonNullable<PlannedDisk['make']>, { location }: Wish) => {
  const [, parent = '', diskId = ''] = /^(.*)\/disks\/([^/]+)$/.exec(name) ?? [];
  const { sku, sizeGib, set } = make;
  const type = encryptionTypeOf(make.encryptionType);
  const encryption = type === undefined ? {} : { encryption: { type, diskEncryptionSet: set } };
  return { parent, diskId, location, sku, sizeGib, ...encryption };
};

/**
 * Frees the disks and deletes those made for this machine; what somebody else made meanwhile is left alone. Whose a disk
 * is can be told once it is made, and a try to make it that ran out of time may still be under way: that is waited for.
 */
const undo = async (
  parts: ProcessParts,
  vm: string,
  { disks, work, wish }: Creating,
  fateOf: (disk: string) => Fate,
  patience: Patience,
): Promise<void> => {
  await Promise.all(
    disks.map(async ({ disk, make }) => {
      const fate = fateOf(disk);
      if (fate.make === 'taken') return;
      let found = await findMade(parts, disk, patience);
      const mayCome = found === undefined ? fate.make === 'unsure' : fate.attach === 'unsure' && found.managedBy !== vm;
      if (mayCome) {
        // No call is carried out after its deadline, so whatever of it is not there by then never will be.
        await parts.clock.sleep(callDeadlineMs, patience.signal);
        found = await findMade(parts, disk, patience);
      }
      if (!found) return;
      await detachOne(parts, vm, disk, work, patience, work.id);
      if (make === undefined) return;
      const own = await ownIdOf(vm, found, fate, () => madeAsWished(parts, disk, make, wish, work, patience));
      if (own === undefined) return;
      await evenIfRefused(deleteThat(parts, disk, own, work, patience), (error) =>
        // Somebody attached it in the moment between: then it is theirs.
        parts.log.warn('disk of a machine that was not made is left', { disk, error }),
      );
    }),
  );
};

/** The unique id of the disk that was made for the machine; `undefined` where what has its name is somebody else's. */
const ownIdOf = (
  vm: string,
  { managedBy, uniqueId }: Disk,
  { madeId }: Fate,
  asked: () => Promise<string | undefined>,
): Promise<string | undefined> | string | undefined => {
  if (managedBy === vm) return uniqueId;
  if (managedBy !== '') return undefined;
  return madeId ?? asked();
};

/**
 * The unique id of the disk that was to be made, where this run was not told it: asked for again it is there, and somebody else's
 * is in the way. Neither its age nor its state would tell the two apart.
 */
const madeAsWished = async (
  { disks }: ProcessParts,
  name: string,
  make: NonNullable<PlannedDisk['make']>,
  wish: Wish,
  { correlationId }: Work,
  patience: Patience,
): Promise<string | undefined> => {
  try {
    const request = makingOf(name, make, wish);
    const { uniqueId } = await disks.insist(
      (client, options) => client.createDisk(request, { ...options, correlationId }),
      patience,
    );
    return uniqueId;
  } catch (error) {
    if (error instanceof Rejection) return undefined;
    throw error;
  }
};

/** The disk once nobody is making it any more; `undefined` when there is none. */
const findMade = async ({ disks }: ProcessParts, name: string, patience: Patience): Promise<Disk | undefined> => {
  try {
    return await disks.insist(async (client, options) => {
      const found = await client.getDisk({ name }, options);
      if (found.provisioningState !== 'CREATING') return found;
      throw new Rejection('ABORTED', 'DISK_CREATING', `${name} is being made: try again`, { name });
    }, patience);
  } catch (error) {
    if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
};
