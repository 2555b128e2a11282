import { type Cause, CursorConflict, type Loaded, Rejection } from '@interlock/event-store';
import { type Control, commitDisk, commitSnapshot, isSnapshotName } from '../disk/control.ts';
import { existing as existingDisk, grow, refuseChanging, rewrap as rewrapDisk } from '../disk/decider.ts';
import { setOf } from '../disk/encryption.ts';
import type { Disk } from '../disk/state.ts';
import type { DekHolder, DiskHeader, SetKey } from '../host/disk-host.ts';
import { headerRefOf, wrapRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { existing as existingSnapshot, rewrap as rewrapSnapshot, type Snapshot } from '../snapshot/decider.ts';
import type { Step } from '../step-barrier.ts';
import { followHeaderLater } from './header-following.ts';

/** The key version and generation to move to. */
export interface MoveTarget {
  readonly keyVersion: string;
  readonly generation: number;
}

/** A disk or snapshot after its move. */
export type Moved =
  | { readonly kind: 'disk'; readonly now: Loaded<Disk> }
  | { readonly kind: 'snapshot'; readonly now: Loaded<Snapshot> };

/** A disk or snapshot as it was read, and how to record that its header has moved. */
interface Movable {
  readonly holder: DekHolder;
  readonly accessEpoch: number;
  commit(header: DiskHeader, accessEpoch: number): Promise<Moved>;
}

/** One move in progress. */
interface Move {
  readonly control: Control;
  readonly name: string;
  readonly target: MoveTarget;
  readonly cause: Cause;
  /** Keeps moves that run together in step. */
  readonly step: Step;
}

/**
 * Moves the DEK of a disk or snapshot to another key version, inside the vault; I/O continues (CMK-15, CMK-16, CMK-82).
 *
 *   vault rewraps ──▶ second slot, durable, read back ──▶ commit (guarded by the generation) ──▶ old slot erased
 *
 * The vault is called outside of the resource's turn, so a close never waits for it. An open disk has the lease of its new version
 * before it moves. After a crash a header that is ahead of the events counts, and the events follow it.
 * @param step keeps moves that run together in step: they share store reads, vault messages and commits
 * @returns the disk or snapshot afterwards
 * @throws Rejection FAILED_PRECONDITION GENERATION_OUTDATED, NOT_ENCRYPTED_WITH_SET; a reason of key loss, with `key_version` of
 *   source or target
 */
export const rewrapDek = async (
  control: Control,
  name: string,
  target: MoveTarget,
  cause: Cause,
  step: Step,
): Promise<Moved> => {
  const move: Move = { control, name, target, cause, step };
  for (;;) {
    const { holder } = await readMovable(move);
    const key = await keyInForce(move, holder);
    const release = control.host.keepHeader(holder.volume.volumeId);
    try {
      return await attemptMove(move, holder, key);
    } catch (error) {
      // Another process moved the header or the generation meanwhile.
      const isStale = error instanceof Rejection && error.reason === 'HEADER_STALE';
      if (!(isStale || error instanceof CursorConflict)) throw error;
    } finally {
      await release();
    }
  }
};

/** @throws Rejection FAILED_PRECONDITION NOT_ENCRYPTED_WITH_SET, GENERATION_OUTDATED */
const keyInForce = async ({ control, name, target, cause }: Move, { encryption }: DekHolder): Promise<SetKey> => {
  const set = setOf(encryption);
  if (set === '') {
    throw new Rejection('FAILED_PRECONDITION', 'NOT_ENCRYPTED_WITH_SET', `${name} is under a platform key`, {
      resource: name,
    });
  }
  const key = await control.setKeys.inForce(set, cause);
  if (key.generation !== target.generation) throw outdated(set, target.generation, key.generation);
  return { ...key, keyVersion: target.keyVersion };
};

const attemptMove = async (move: Move, holder: DekHolder, key: SetKey): Promise<Moved> => {
  const { control, name, target, step } = move;
  const { host, turns, log } = control;
  const header = await host.inspect(holder);
  const isMoved = header.wrap.keyVersion === target.keyVersion && header.generation === target.generation;
  if (isMoved) {
    // The DEK has moved, whatever the vault responds now. If it refuses, the session ends.
    await host
      .obtainLease(holder, key, header.wrap.wrapped)
      .catch((error: unknown) =>
        log.warn('the vault did not grant the key version that a DEK has moved to', { resource: name, error }),
      );
  }
  await step();
  const { wrap, grant } = isMoved ? { wrap: header.wrap, grant: undefined } : await host.rewrap(holder, header, key);
  return turns(name, async () => {
    const current = await readMovable(move);
    if (current.holder.volume.volumeId !== holder.volume.volumeId) throw stale();
    const commit = (next: DiskHeader) => commitMove(move, current, next, grant?.accessEpoch ?? current.accessEpoch);
    return isMoved
      ? recordMoved(move, holder, header, commit)
      : replaceWrap(move, holder, header, { wrap, generation: target.generation }, commit);
  });
};

/** An earlier attempt moved the header: does what it did not do. */
const recordMoved = async (
  { control: { host } }: Move,
  holder: DekHolder,
  header: DiskHeader,
  commit: (header: DiskHeader) => Promise<Moved>,
): Promise<Moved> => {
  // Time has passed since the header was read.
  if ((await host.inspect(holder, 'make durable')).sequence !== header.sequence) throw stale();
  const done = await commit(header);
  await host.inspect(holder, 'erase previous');
  return done;
};

const replaceWrap = async (
  { control, name, cause }: Move,
  holder: DekHolder,
  header: DiskHeader,
  change: Pick<DiskHeader, 'wrap' | 'generation'>,
  commit: (header: DiskHeader) => Promise<Moved>,
): Promise<Moved> => {
  try {
    return (await control.host.replaceHeader(holder.volume.volumeId, header, change, commit)).committed;
  } catch (error) {
    // The storage failed, and may have the new header nevertheless.
    const isOfStorage = !(error instanceof Rejection) || error.reason === 'STORAGE_FULL';
    if (isOfStorage) followHeaderLater(control, name, cause);
    throw error;
  }
};

/** Records that the header has moved. */
const commitMove = async (
  { control, name, target, cause, step }: Move,
  { holder, commit }: Movable,
  header: DiskHeader,
  accessEpoch: number,
): Promise<Moved> => {
  await step();
  try {
    return await commit(header, accessEpoch);
  } catch (error) {
    // Another generation has begun, or the store is unreachable: the header has moved nevertheless.
    followHeaderLater(control, name, cause);
    throw error;
  } finally {
    // The header says where the DEK is: from here on a loss of the new version ends the session.
    control.host.keyMoved(name, { set: setOf(holder.encryption), keyVersion: target.keyVersion });
  }
};

const readMovable = (move: Move): Promise<Movable> => (isSnapshotName(move.name) ? readSnapshot(move) : readDisk(move));

const readDisk = async ({ control, name, cause }: Move): Promise<Movable> => {
  const known = await control.disks.load(name);
  const disk = existingDisk(known.state);
  // A header that is ahead of a changing disk is that change.
  refuseChanging(disk);
  const holder = { ...disk, name };
  return {
    holder,
    accessEpoch: disk.accessEpoch,
    async commit(header, accessEpoch) {
      const { wrap, ref, at, terms } = factsOf(control, holder, header);
      const decide = (now: Disk) => [
        ...rewrapDisk(at, wrap, ref, accessEpoch)(now),
        // The header may have been ahead by a growth, which its sequence does not show any more.
        ...grow(at, header.size / bytesPerGib, ref)(now),
      ];
      return { kind: 'disk', now: await commitDisk(control, name, decide, cause, { ...terms, known }) };
    },
  };
};

const readSnapshot = async ({ control, name, cause }: Move): Promise<Movable> => {
  const known = await control.snapshots.load(name);
  const holder = { ...existingSnapshot(known.state), name };
  return {
    holder,
    accessEpoch: 0,
    async commit(header, accessEpoch) {
      const { wrap, ref, at, terms } = factsOf(control, holder, header);
      const decide = rewrapSnapshot(at, wrap, ref, accessEpoch);
      return { kind: 'snapshot', now: await commitSnapshot(control, name, decide, cause, { ...terms, known }) };
    },
  };
};

/** A header as events have it, and what its commit consists of. */
const factsOf = (
  { stored, setKeys, clock }: Control,
  { encryption, volume: { volumeId } }: DekHolder,
  header: DiskHeader,
) => {
  const wrap = wrapRefOf(encryption, header);
  const terms = {
    guard: setKeys.guard(setOf(encryption), wrap.generation),
    rows: [stored.put(volumeId, header)],
  };
  return { wrap, ref: headerRefOf(volumeId, header), at: clock.now(), terms };
};

const stale = (): Rejection =>
  new Rejection('ABORTED', 'HEADER_STALE', 'the volume or its header was replaced: read it again');

const outdated = (set: string, requested: number, inForce: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'GENERATION_OUTDATED',
    `generation ${requested} of ${set} is not in force: ${inForce} is`,
    { disk_encryption_set: set, generation: String(requested), in_force: String(inForce) },
  );
