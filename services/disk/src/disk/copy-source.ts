import { Rejection } from '@interlock/event-store';
import type { DekHolder } from '../host/disk-host.ts';
import { snapshotNotFound } from '../snapshot/wire.ts';
import { type Control, isSnapshotName } from './control.ts';
import { changed } from './decider.ts';
import { sameEncryption } from './encryption.ts';
import { diskNotFound } from './wire.ts';

/** The errors of a copy whose source volume was removed before or during the copy. */
const removed: ReadonlySet<string> = new Set(['VOLUME_MISSING', 'STORE_CLOSED']);

/**
 * Makes a copy and explains its failure by what became of the source, because a copy does not keep its source. If the source was
 * deleted, the copy fails with NOT_FOUND. If its encryption changed, the copy has to be repeated: it would be under a key that the
 * source has left, whose loss it would not notice (G1).
 * @param copy makes it; `refuseChanged` has to be called before it is recorded
 * @throws Rejection NOT_FOUND DISK_NOT_FOUND, SNAPSHOT_NOT_FOUND; ABORTED DISK_CHANGED if the disk has another volume or encryption
 *   now, or is larger, or a snapshot has moved; whatever `copy` throws
 */
export const copyingFrom = async <Result>(
  { all }: Pick<Control, 'all'>,
  { name, encryption, volume: { volumeId } }: DekHolder,
  copy: (refuseChanged: () => Promise<void>) => Promise<Result>,
): Promise<Result> => {
  const isSnapshot = isSnapshotName(name);
  const sourceNow = async (): Promise<'gone' | 'same' | 'another'> => {
    const { state } = await (isSnapshot ? all.snapshots : all.disks).load(name);
    // A deletion is recorded before its volume is removed.
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
    // The source grew, and was written to beyond the end of its copy.
    const isGrown = error.reason === 'OUT_OF_RANGE' && !isSnapshot;
    if ((now === 'same' && !isGrown) || (now === 'gone' && !removed.has(error.reason))) throw error;
    if (now !== 'gone') throw changed();
    throw isSnapshot ? snapshotNotFound(name) : diskNotFound(name);
  }
};
