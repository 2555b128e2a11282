import type { EncryptionType } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Cause, type Loaded, Rejection, type Transacted } from '@interlock/event-store';
import { callDeadlineMs, orInterrupted, type Patience } from '../disk-service/disks.ts';
import { asKnownBy } from '../vm/disk-state.ts';
import type { OpenedDisk, VmEvent } from '../vm/events.ts';
import type { PlannedDisk } from '../vm/machine.ts';
import { created, creationFailed, disksOpened, undoCreation } from '../vm/progress.ts';
import type { Creating, Vm } from '../vm/state.ts';
import { deleteThat, detachOne, evenIfRefused } from './closing.ts';
import { failureOf, LossMissed } from './failures.ts';
import { stopIfLossMissed } from './missed-losses.ts';
import { openAll } from './opening.ts';
import { isStillAt, type MakingProgress, type Process, type ProcessParts, type Run } from './process.ts';

/**
 * Creates a machine: its new disks, then every disk attached and opened (VM-10). Only then the machine exists, and the start
 * follows. When anything is refused, the machine first stores that all of it is undone, and the failure once nothing is left
 * (CMK-110): of two replicas at this work, one may be refused what the other was granted.
 */
export const createMachine: Process<Creating> = {
  name: 'create',
  appliesTo: (vm) => (vm.status === 'creating' && vm.work.undo === undefined ? vm : undefined),
  steps: [
    { name: 'create, attach and open the disks', effect: obtainDisks },
    // The caller has no response yet, so the creation fails as a whole (G2).
    { name: 'look for losses since the unwraps', effect: throwIfLost },
  ],
  success: {
    event: 'VmCreated',
    decide: ({ parts, state, opening }) => created(parts.clock.now(), state.work.id, opening?.opened ?? []),
  },
  failure: {
    event: 'VmCreationUndoing',
    decide({ parts, vm, state: { work } }, error) {
      const at = parts.clock.now();
      return undoCreation(at, work.id, failureOf(error, work, vm, at));
    },
  },
  afterwards: undoOrKeep,
};

/** Frees and deletes what an interrupted creation left. */
export const undoneCreation: Process<Creating> = {
  name: 'undo create',
  appliesTo: (vm) => (vm.status === 'creating' && vm.work.undo !== undefined ? vm : undefined),
  steps: [
    {
      name: 'free and delete the disks',
      async effect(run) {
        await undo(run, () => unknownProgress);
      },
    },
  ],
  success: {
    event: 'VmCreationFailed',
    decide: ({ parts, state: { work } }) =>
      work.undo === undefined ? () => [] : creationFailed(parts.clock.now(), work.id, work.undo),
  },
};

const patienceOf = ({ parts, state, signal }: Run<Creating>): Patience => ({
  signal,
  untilMs: state.work.at + parts.startTimeoutMs,
});

/**
 * Each disk goes through these calls independently: one that is slow to be created does not delay the refusal of another. After a
 * refusal no call is repeated. Only a data disk under another set than the new OS disk waits until that is made: it is to be on the
 * host of the OS disk, and another set may choose another host.
 */
async function obtainDisks(run: Run<Creating>): Promise<undefined> {
  const disks = run.state.disks.map((disk) => ({ ...disk, attachEpoch: 0 }));
  const osDisk = disks.find(({ isOs }) => isOs);
  const osDiskMade = Promise.withResolvers<void>();
  run.opening = await openAll(run, disks, patienceOf(run), async (disk, patience) => {
    const progress = progressIn(run, disk.disk);
    const { make } = disk;
    if (make !== undefined) {
      const follows = !disk.isOs && osDisk?.make !== undefined && osDisk.make.set !== make.set;
      if (follows) await orInterrupted(osDiskMade.promise, patience.signal);
      const made = createDisk(run, disk.disk, make, progress, patience);
      await (disk.isOs ? made.finally(() => osDiskMade.resolve()) : made);
    }
    await attachDisk(run, disk, progress, patience);
  });
}

const createDisk = async (
  { parts, state, cause }: Run<Creating>,
  name: string,
  make: NonNullable<PlannedDisk['make']>,
  progress: MakingProgress,
  patience: Patience,
): Promise<void> => {
  const request = makingOf(name, make, state);
  progress.make = 'unsure';
  try {
    const { uniqueId } = await parts.disks.insist(
      (client, options) => client.createDisk(request, { ...options, cause }),
      patience,
    );
    progress.make = 'made';
    progress.madeId = uniqueId;
  } catch (error) {
    if (error instanceof Rejection) progress.make = error.code === 'ALREADY_EXISTS' ? 'taken' : 'not sent';
    throw error;
  }
};

const attachDisk = async (
  { parts, vm, state, cause }: Run<Creating>,
  { disk, isOs }: PlannedDisk,
  progress: MakingProgress,
  patience: Patience,
): Promise<void> => {
  const { id: requestId } = state.work;
  const request = { name: disk, virtualMachine: vm, requestId, osDisk: isOs };
  progress.attach = 'unsure';
  try {
    await parts.disks.insist((client, options) => client.attachDisk(request, { ...options, cause }), patience);
    progress.attach = 'answered';
  } catch (error) {
    if (error instanceof Rejection) progress.attach = 'answered';
    throw error;
  }
};

async function throwIfLost({ parts, vm, opening }: Run<Creating>): Promise<undefined> {
  const { losses, vms } = parts;
  let { opened = [] } = opening ?? {};
  if ((await losses.missedBy(opened)) === undefined) return;
  // A disk may have got another key since it was opened.
  opened = asKnownBy((await vms.load(vm)).state, opened);
  const missed = await losses.missedBy(opened);
  if (missed === undefined) return;
  const { cause: _cause, isOver: _over, ...loss } = missed;
  throw new LossMissed({ ...loss, disk: firstUnder(opened, loss.set, loss.keyVersion) });
}

/**
 * Undoes what this run did, unless there is a machine that has it. Another replica may have created it: the opens of this run
 * are later then, and the machine's.
 */
async function undoOrKeep(run: Run<Creating>, stored: Transacted<Vm, VmEvent>): Promise<Loaded<Vm> | undefined> {
  const { parts, vm, state, cause, opening } = run;
  const { clock, vms } = parts;
  const { work } = state;
  if (!isMade(stored.state, state)) {
    await undo(run, (disk) => progressIn(run, disk));
    const failure = stored.state.status === 'creating' ? stored.state.work.undo : undefined;
    return failure === undefined
      ? stored
      : vms.transact(vm, creationFailed(clock.now(), work.id, failure), cause, {
          step: 'work',
        });
  }
  const isLate = stored.events.length === 0 && opening !== undefined;
  const after = isLate
    ? await vms.transact(vm, disksOpened(clock.now(), work.id, opening.opened), cause, { step: 'work' })
    : stored;
  return isStillAt(after.state, work) && (await stopIfLossMissed(run, after)) ? undefined : after;
}

/** Whether the creation led to a machine, even if it is deleted by now. */
const isMade = (vm: Vm, { createdAt }: Creating): boolean =>
  vm.status === 'deleted' || (vm.status === 'active' && vm.createdAt === createdAt);

const firstUnder = (opened: readonly OpenedDisk[], set: string, keyVersion: string): string =>
  opened.find((disk) => disk.set === set && disk.keyVersion === keyVersion)?.disk ?? '';

const noProgress = (): MakingProgress => ({ make: 'not sent', attach: 'not sent' });

const progressIn = ({ progressOfDisks }: Run<Creating>, disk: string): MakingProgress => {
  const progress = progressOfDisks.get(disk) ?? noProgress();
  progressOfDisks.set(disk, progress);
  return progress;
};

/** How far a disk got in a run of which nothing is known. */
const unknownProgress: MakingProgress = { make: 'unsure', attach: 'unsure' };

const encryptionTypes: readonly EncryptionType[] = [
  'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY',
  'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
  'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS',
];

/** An encryption type of the contracts; `undefined` if none is given: the disk service chooses. */
const encryptionTypeOf = (name: string): EncryptionType | undefined => encryptionTypes.find((known) => known === name);

/** The request that creates a disk. If repeated, it returns that disk, or is refused where another disk has the name. */
const makingOf = (
  name: string,
  make: NonNullable<PlannedDisk['make']>,
  { spec: { location }, disks }: Pick<Creating, 'spec' | 'disks'>,
) => {
  const [, parent = '', diskId = ''] = /^(.*)\/disks\/([^/]+)$/.exec(name) ?? [];
  const { sku, sizeGib, set } = make;
  const type = encryptionTypeOf(make.encryptionType);
  const encryption = type === undefined ? {} : { encryption: { type, diskEncryptionSet: set } };
  const osDisk = disks.find(({ isOs }) => isOs)?.disk ?? '';
  return { parent, diskId, location, sku, sizeGib, near: osDisk === name ? '' : osDisk, ...encryption };
};

/**
 * Frees the disks and deletes those created for this machine; disks that others created meanwhile stay. Once a disk is created
 * its owner is known. A create call that ran out of time may still be carried out: the undo waits for that.
 */
const undo = async (run: Run<Creating>, progressOf: (disk: string) => MakingProgress): Promise<void> => {
  await Promise.all(run.state.disks.map((disk) => undoDisk(run, disk, progressOf(disk.disk))));
};

const undoDisk = async (run: Run<Creating>, { disk, make }: PlannedDisk, progress: MakingProgress): Promise<void> => {
  const { parts, vm, state, cause, signal } = run;
  const patience = { signal };
  if (progress.make === 'taken') return;
  let found = await findMade(parts, disk, patience);
  const mayCome =
    found === undefined ? progress.make === 'unsure' : progress.attach === 'unsure' && found.managedBy !== vm;
  if (mayCome) {
    // No call is carried out after its deadline, so a disk that does not exist by then is never created.
    await parts.clock.sleep(callDeadlineMs, signal);
    found = await findMade(parts, disk, patience);
  }
  if (!found) return;
  await detachOne(parts, vm, disk, cause, patience, state.work.id);
  if (make === undefined) return;
  const own = await ownIdOf(vm, found, progress, () => requestedId(parts, disk, make, state, cause, patience));
  if (own === undefined) return;
  await evenIfRefused(deleteThat(parts, disk, own, cause, patience), (error) =>
    // Another machine attached it in between: then it is that machine's.
    parts.log.warn('disk of a machine that was not created is left', { disk, error }),
  );
};

/** The unique id of the disk that was created for the machine; `undefined` if a disk of another owner has its name. */
const ownIdOf = (
  vm: string,
  { managedBy, uniqueId }: Disk,
  { madeId }: MakingProgress,
  createAgain: () => Promise<string | undefined>,
): Promise<string | undefined> | string | undefined => {
  if (managedBy === vm) return uniqueId;
  if (managedBy !== '') return undefined;
  return madeId ?? createAgain();
};

/**
 * The unique id of the disk that was to be created, if this run does not know it. Requested again, the own disk is returned
 * and another owner's is refused. Neither age nor state would distinguish the two.
 */
const requestedId = async (
  { disks }: ProcessParts,
  name: string,
  make: NonNullable<PlannedDisk['make']>,
  state: Pick<Creating, 'spec' | 'disks'>,
  cause: Cause,
  patience: Patience,
): Promise<string | undefined> => {
  try {
    const request = makingOf(name, make, state);
    const { uniqueId } = await disks.insist(
      (client, options) => client.createDisk(request, { ...options, cause }),
      patience,
    );
    return uniqueId;
  } catch (error) {
    if (error instanceof Rejection) return undefined;
    throw error;
  }
};

/** The disk once its creation is over; `undefined` if it does not exist. */
const findMade = async ({ disks }: ProcessParts, name: string, patience: Patience): Promise<Disk | undefined> => {
  try {
    return await disks.insist(async (client, options) => {
      const found = await client.getDisk({ name }, options);
      if (found.provisioningState !== 'CREATING') return found;
      throw new Rejection('ABORTED', 'DISK_CREATING', `${name} is being created: try again`, { name });
    }, patience);
  } catch (error) {
    if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
};
