import { type Category, Rejection } from '@interlock/event-store';
import type { DekHolder } from '../host/keys/deks.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import { snapshotNotFound } from '../snapshot/wire.ts';
import { changed } from './decider.ts';
import { sameEncryption } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import type { Disk } from './state.ts';
import { diskNotFound } from './wire.ts';

/** What a copy fails with whose source's volume was removed, before it was open or under the copy. */
const removed: ReadonlySet<string> = new Set(['VOLUME_MISSING', 'STORE_CLOSED']);

/**
 * Makes a copy. Nobody keeps a disk or snapshot because it is being copied: where it was deleted meanwhile, that is what the
 * copy is told to have failed for. Where the encryption of its disk was changed, it is to be made anew: the key it was made
 * under is not the one the disk is under, whose loss it would not notice (G1), and what it was refused tells of neither. A
 * volume that was closed because this host stops, or that is missing, fails it as ever.
 * @param copy makes it; with what is to be asked before it is recorded
 * @throws Rejection NOT_FOUND DISK_NOT_FOUND, SNAPSHOT_NOT_FOUND; ABORTED DISK_CHANGED where the disk has another volume or
 *   encryption by now, or is larger; whatever `copy` throws
 */
export const copyingFrom = async <Result>(
  kinds: {
    readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
    readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'load'>;
  },
  { name, encryption, volume: { volumeId } }: DekHolder,
  copy: (refuseChanged: () => Promise<void>) => Promise<Result>,
): Promise<Result> => {
  const isSnapshot = name.split('/').at(-2) === 'snapshots';
  const sourceNow = async (): Promise<'gone' | 'same' | 'another'> => {
    const { state } = await (isSnapshot ? kinds.snapshots : kinds.disks).load(name);
    // The end of what is deleted is announced before its volume is removed.
    if (state.status !== 'active') return 'gone';
    return state.volume.volumeId === volumeId && sameEncryption(state.encryption, encryption) ? 'same' : 'another';
  };
  const refuseChanged = async (): Promise<void> => {
    if ((await sourceNow()) === 'another') throw changed();
  };

  try {
    return await copy(refuseChanged);
  } catch (error) {
    if (!(error instanceof Rejection)) throw error;
    const now = await sourceNow();
    // It was grown and written to behind the end of what was to be as large as it was.
    const isGrown = error.reason === 'OUT_OF_RANGE' && !isSnapshot;
    if ((now === 'same' && !isGrown) || (now === 'gone' && !removed.has(error.reason))) throw error;
    if (isSnapshot) throw snapshotNotFound(name);
    throw now === 'gone' ? diskNotFound(name) : changed();
  }
};
