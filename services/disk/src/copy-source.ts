import { type Category, Rejection } from '@interlock/event-store';
import { changed } from './disk/decider.ts';
import type { DiskEvent } from './disk/events.ts';
import type { Disk } from './disk/state.ts';
import { diskNotFound } from './disk/wire.ts';
import type { DekHolder } from './keys/deks.ts';
import type { Snapshot } from './snapshot/decider.ts';
import type { SnapshotEvent } from './snapshot/events.ts';
import { snapshotNotFound } from './snapshot/wire.ts';

/** What a copy fails with whose source's volume was removed, before it was open or under the copy. */
const removed: ReadonlySet<string> = new Set(['VOLUME_MISSING', 'STORE_CLOSED']);

/**
 * Makes a copy. Nobody keeps a disk or snapshot because it is being copied: where it was deleted meanwhile, that is what the
 * copy is told to have failed for. A volume that was closed because this host stops, or that is missing, fails it as ever.
 * @throws Rejection NOT_FOUND DISK_NOT_FOUND, SNAPSHOT_NOT_FOUND; ABORTED DISK_CHANGED where the disk has another volume by
 *   now; whatever `copy` throws
 */
export const copyingFrom = async <Result>(
  kinds: {
    readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
    readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'load'>;
  },
  { name, volume: { volumeId } }: Pick<DekHolder, 'name' | 'volume'>,
  copy: () => Promise<Result>,
): Promise<Result> => {
  try {
    return await copy();
  } catch (error) {
    if (!(error instanceof Rejection && removed.has(error.reason))) throw error;
    const isSnapshot = name.split('/').at(-2) === 'snapshots';
    const { state } = await (isSnapshot ? kinds.snapshots : kinds.disks).load(name);
    // The end of what is deleted is announced before its volume is removed.
    if (state.status === 'active' && state.volume.volumeId === volumeId) throw error;
    if (isSnapshot) throw snapshotNotFound(name);
    throw state.status === 'active' ? changed() : diskNotFound(name);
  }
};
