import { type Cause, StoreUnavailable } from '@interlock/event-store';
import { expectedVersion } from '@interlock/rpc';
import { type Control, commitDisk, commitSnapshot } from '../disk/control.ts';
import type { DiskCreation } from '../disk/creation.ts';
import { gone as diskGone, remove as removeDisk } from '../disk/decider.ts';
import { volumesOf } from '../disk/state.ts';
import { diskNotFound } from '../disk/wire.ts';
import type { VolumeMoves } from '../moves/volume-moves.ts';
import type { SnapshotCreation } from '../snapshot/creation.ts';
import { remove as removeSnapshot, gone as snapshotGone } from '../snapshot/decider.ts';
import { snapshotNotFound } from '../snapshot/wire.ts';

/** Completes the deletion of a disk after it was recorded. The caller has the disk's turn. */
export const finishDiskDeletion = async (control: Control, name: string, cause: Cause): Promise<void> => {
  const { ending, host, stored, clock } = control;
  const { state } = await ending.disks.load(name);
  if (state.status !== 'deleting') return;
  host.close(name);
  for (const volumeId of volumesOf(state)) await host.delete(volumeId);
  const rows = volumesOf(state).map(stored.remove);
  await commitDisk(ending, name, diskGone(clock.now()), cause, { rows, step: 'life' });
};

/** The same for a snapshot. */
export const finishSnapshotDeletion = async (control: Control, name: string, cause: Cause): Promise<void> => {
  const { ending, host, stored, clock } = control;
  const { state } = await ending.snapshots.load(name);
  if (state.status !== 'deleting') return;
  await host.delete(state.volume.volumeId);
  const rows = [stored.remove(state.volume.volumeId)];
  await commitSnapshot(ending, name, snapshotGone(clock.now()), cause, { rows, step: 'life' });
};

/** The processes that may have left something which is deleted too: here, or at the other host of a move. */
interface Deleting<Creation> {
  readonly creation: Creation;
  readonly moves: Pick<VolumeMoves, 'reconcile'>;
}

/** Deletes a disk in its turn. Needs no key, and of a lost host no volume. @throws Rejection as DeleteDisk lists them */
export const deleteDisk = (
  control: Control,
  { creation, moves }: Deleting<DiskCreation>,
  { name, etag }: { readonly name: string; readonly etag: string },
  cause: Cause,
): Promise<void> =>
  control.turns(name, async () => {
    const { clock } = control;
    const { disks } = control.ending;
    await moves.reconcile(name, cause);
    const { state, version } = await disks.load(name);
    if (version === 0) throw diskNotFound(name);
    if (state.status === 'absent') return;
    if (state.status === 'creating') {
      // This is the disk's turn, so no call makes it: a creation failed and was not undone.
      await disks.transact(name, () => [], cause, expectedVersion(etag));
      return creation.undo(name, 'DELETED', cause);
    }
    const announce = () => disks.transact(name, removeDisk(clock.now()), cause, expectedVersion(etag));
    await announceAndFinish(control, name, announce, () => finishDiskDeletion(control, name, cause));
  });

/** Deletes a snapshot in its turn. Needs no key. @throws Rejection as DeleteSnapshot lists them */
export const deleteSnapshot = (
  control: Control,
  { creation, moves }: Deleting<SnapshotCreation>,
  { name, etag }: { readonly name: string; readonly etag: string },
  cause: Cause,
): Promise<void> =>
  control.turns(name, async () => {
    const { clock } = control;
    const { snapshots } = control.ending;
    await moves.reconcile(name, cause);
    const { state, version } = await snapshots.load(name);
    if (version === 0) throw snapshotNotFound(name);
    if (state.status === 'absent') return;
    if (state.status === 'creating') {
      await snapshots.transact(name, () => [], cause, expectedVersion(etag));
      return creation.undo(name, 'DELETED', cause);
    }
    const announce = () => snapshots.transact(name, removeSnapshot(clock.now()), cause, expectedVersion(etag));
    await announceAndFinish(control, name, announce, () => finishSnapshotDeletion(control, name, cause));
  });

/** Once the deletion is recorded it is completed, also if this call fails. */
const announceAndFinish = async (
  { retries }: Control,
  name: string,
  announce: () => Promise<unknown>,
  finish: () => Promise<void>,
): Promise<void> => {
  await announce().catch((error: unknown) => {
    // The commit may be stored nevertheless.
    if (error instanceof StoreUnavailable) retries.add(name, finish);
    throw error;
  });
  await finish().catch((error: unknown) => {
    retries.add(name, finish);
    throw error;
  });
};
