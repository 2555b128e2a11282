import { Rejection } from '@interlock/event-store';
import { erasePrevious, readHeader, settleCurrent, writeHeader } from '../disk-header.ts';
import type { DekWrap, DiskHeader } from '../disk-header-format.ts';
import { type Encryption, setOf, type VolumeRef, type WrapRef } from '../encryption.ts';
import { hostReplaced } from '../host/ownership.ts';
import type { Volumes } from './volumes.ts';

/** The current header of a volume. @throws Rejection DATA_LOSS HEADER_CORRUPT, VOLUME_MISSING */
export const currentHeader = async (volumes: Volumes, volumeId: string): Promise<DiskHeader> =>
  (await volumes.withHeader(volumeId, readHeader)).current;

/**
 * The current header, on stable storage for certain: one that is ahead of the events may be in the memory of the operating
 * system alone, and events that followed it would be ahead of it once the power has gone. A later host's is that host's.
 * @throws Rejection DATA_LOSS HEADER_CORRUPT, VOLUME_MISSING
 */
export const settledHeader = (volumes: Volumes, volumeId: string): Promise<DiskHeader> =>
  volumes.withHeader(volumeId, async (open) => {
    const { current } = await readHeader(open);
    if (current.hostEpoch <= volumes.hostEpoch) await settleCurrent(open);
    return current;
  });

/** What of a header changes. `standby: undefined` takes the standby wrap away; without the property it stays. */
export type HeaderChange = Partial<Pick<DiskHeader, 'size' | 'wrap' | 'generation'>> & {
  readonly standby?: DekWrap | undefined;
};

/**
 * Replaces the header: the new one is durable and read back before `commit`, and the old one is erased after it, so a wrap
 * is always somewhere and the header is never behind the events. A header ahead of them is caught up by its reader.
 * @param expected sequence of the header the change was prepared from
 * @returns the new header, and what `commit` returned
 * @throws Rejection ABORTED HEADER_STALE when it has changed since; FAILED_PRECONDITION DISK_HOST_REPLACED; and whatever
 *   `commit` throws
 */
export const replaceHeader = <Committed>(
  volumes: Volumes,
  volumeId: string,
  expected: number,
  change: HeaderChange,
  commit: (header: DiskHeader) => Promise<Committed>,
): Promise<{ readonly header: DiskHeader; readonly committed: Committed }> =>
  volumes.withHeader(volumeId, async (open) => {
    const { current, previous } = await readHeader(open);
    if (current.sequence !== expected) {
      throw new Rejection(
        'ABORTED',
        'HEADER_STALE',
        `the header has sequence ${current.sequence}, not ${expected}: read it again`,
        {
          sequence: String(current.sequence),
          expected: String(expected),
        },
      );
    }
    const { hostEpoch } = volumes;
    if (current.hostEpoch > hostEpoch) throw hostReplaced({ volume: volumeId }, hostEpoch);
    const { standby, ...rest } = { ...current, ...change, hostEpoch };
    const next = { ...rest, ...(standby === undefined ? {} : { standby }), sequence: current.sequence + 1 };
    if (previous) await erasePrevious(open);
    await writeHeader(open, next);
    const committed = await commit(next);
    await erasePrevious(open);
    return { header: next, committed };
  });

/** Writes the first header of a volume, with the epoch of this host. */
export const writeFirstHeader = (volumes: Volumes, volumeId: string, header: DiskHeader): Promise<DiskHeader> =>
  volumes.withHeader(volumeId, async (open) => {
    const owned = { ...header, hostEpoch: volumes.hostEpoch };
    await writeHeader(open, owned);
    return owned;
  });

/** Erases what a crash left of the header before the current one. */
export const tidyHeader = (volumes: Volumes, volumeId: string): Promise<unknown> =>
  volumes.withHeader(volumeId, erasePrevious);

/**
 * The current header. Of the one before it nothing is left then that a crash kept from being erased, unless a later host wrote
 * the current one: it is that host's.
 */
export const tidiedHeader = (volumes: Volumes, volumeId: string): Promise<DiskHeader> =>
  volumes.withHeader(volumeId, async (open) => {
    const { current } = await readHeader(open);
    if (current.hostEpoch <= volumes.hostEpoch) await erasePrevious(open);
    return current;
  });

/** The key version and generation a header says, as events and the API have them. */
export const wrapRefOf = (encryption: Encryption, header: DiskHeader): WrapRef =>
  setOf(encryption) === ''
    ? { keyVersion: '', generation: 0 }
    : { keyVersion: header.wrap.keyVersion, generation: header.generation };

/** Where a volume lies, as events have it. */
export const volumeRefOf = (volumeId: string, header: DiskHeader): VolumeRef => ({
  volumeId,
  dekId: header.dekId,
  dekDiskId: header.diskId,
  headerSequence: header.sequence,
});
