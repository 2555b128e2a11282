import type { VolumeRef } from '../../disk/encryption.ts';
import { type DiskHeader, headerDigest } from './disk-header-format.ts';

/** What the store knows of the header of a volume. */
export interface ExpectedHeader {
  readonly volume: Pick<VolumeRef, 'dekId' | 'dekDiskId' | 'headerSequence' | 'headerDigest'>;
  /** The sets its DEK may be wrapped for: its own, and the one a change of encryption moves it to; `''`: a key of the platform. */
  readonly sets: readonly string[];
}

/**
 * How an authentic header (its MAC is right) compares to the store:
 *
 *   equal   it is the one the store knows
 *   ahead   this service wrote it later than its last event: a crash, or a store that did not respond, came between the two, or the
 *           store was restored to an earlier moment
 *   behind  this service wrote it earlier: the storage returned an old header, as after a restore of its volume
 *   forged  it agrees with the store in nothing that this service writes: another DEK, another set, or other content under the
 *           same sequence
 */
export type HeaderComparison = 'equal' | 'ahead' | 'behind' | 'forged';

/** Compares a header that was found with what the store knows. */
export const compareHeader = ({ volume, sets }: ExpectedHeader, found: DiskHeader): HeaderComparison => {
  if (found.dekId !== volume.dekId || found.diskId !== volume.dekDiskId) return 'forged';
  if (found.sequence < volume.headerSequence) return 'behind';
  if (found.sequence === volume.headerSequence) return headerDigest(found) === volume.headerDigest ? 'equal' : 'forged';
  return sets.includes(found.set) ? 'ahead' : 'forged';
};
