import type { Cause, Loaded } from '@interlock/event-store';
import { type Control, commitDisk, commitSnapshot, isSnapshotName } from '../disk/control.ts';
import { existing, grow, rewrap as rewrapDisk } from '../disk/decider.ts';
import { setOf } from '../disk/encryption.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import { type DiskHeader, isDamaged } from '../host/disk-host.ts';
import { headerRefOf, wrapRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { rewrap as rewrapSnapshot } from '../snapshot/decider.ts';

/**
 * Lets the events of a disk follow a header that is ahead of them, after a crash or a commit that the store did not respond to.
 * Called in the disk's turn, when nothing else is in progress. An open disk then counts as under the version of its header. A disk
 * with an encryption change is left to that change. Rule CMK-88.
 * @param known the header now, and the disk as it was read before: if they agree, the store is not read again
 * @returns the disk afterwards
 */
export const followDiskHeader = async (
  control: Control,
  name: string,
  cause: Cause,
  known?: { readonly loaded: Loaded<Disk>; readonly header: DiskHeader },
): Promise<Loaded<ActiveDisk>> => {
  const { disks, host, stored, clock } = control;
  const loaded = known?.loaded ?? (await disks.load(name));
  const disk = existing(loaded.state);
  const { volumeId, headerSequence } = disk.volume;
  const holder = { ...disk, name };
  const header = known?.header ?? (await host.inspect(holder, 'make durable'));
  if (header.sequence <= headerSequence || disk.changing !== null) return { ...loaded, state: disk };
  // It may be ahead only of an older state.
  if (known) return followDiskHeader(control, name, cause);
  const at = clock.now();
  const ref = headerRefOf(volumeId, header);
  const isMoved = header.generation !== disk.generation || header.wrap.keyVersion !== disk.keyVersion;
  const by = isMoved ? await control.setKeys.causeOf(setOf(disk.encryption), header.generation, cause) : cause;
  const decide = (now: Disk) => [
    ...rewrapDisk(at, wrapRefOf(disk.encryption, header), ref, disk.accessEpoch)(now),
    ...grow(at, header.size / bytesPerGib, ref)(now),
  ];
  const after = await commitDisk(control, name, decide, by, { rows: [stored.put(volumeId, header)] });
  const set = setOf(disk.encryption);
  if (set !== '') host.keyMoved(name, { set, keyVersion: header.wrap.keyVersion });
  const state = existing(after.state);
  await host.inspect({ ...holder, volume: state.volume }, 'erase previous');
  return { ...after, state };
};

/** The same for a snapshot. */
export const followSnapshotHeader = async (control: Control, name: string, cause: Cause): Promise<void> => {
  const { snapshots, host, stored, clock } = control;
  const { state } = await snapshots.load(name);
  if (state.status !== 'active') return;
  const { volumeId, headerSequence } = state.volume;
  const header = await host.inspect({ ...state, name }, 'make durable');
  if (header.sequence <= headerSequence) return;
  const decide = rewrapSnapshot(clock.now(), wrapRefOf(state.encryption, header), headerRefOf(volumeId, header), 0);
  const by = await control.setKeys.causeOf(setOf(state.encryption), header.generation, cause);
  await commitSnapshot(control, name, decide, by, { rows: [stored.put(volumeId, header)] });
  await host.inspect({ ...state, name }, 'erase previous');
};

/**
 * Lets the events of a disk or snapshot follow its header later, if a move could not be stored. The next move of the header would
 * do it, but there may be none: once the new key is lost, its set requests no move. Rule CMK-88.
 */
export const followHeaderLater = (control: Control, name: string, cause: Cause): void =>
  control.retries.add(name, async () => {
    try {
      if (isSnapshotName(name)) return await followSnapshotHeader(control, name, cause);
      const { state } = await control.disks.load(name);
      if (state.status === 'active') await followDiskHeader(control, name, cause);
    } catch (error) {
      // A damaged header cannot be followed; its next user receives the error.
      if (!isDamaged(error)) throw error;
    }
  });
