import { Rejection } from '@interlock/event-store';
import { type Encryption, type HeaderRef, setOf, type VolumeRef, type WrapRef } from '../../disk/encryption.ts';
import { hostReplaced } from '../ownership.ts';
import type { Volumes } from '../volume/volumes.ts';
import { erasePrevious, readHeader, writeHeader } from './disk-header.ts';
import { type DiskHeader, headerDigest } from './disk-header-format.ts';

/** What of a header changes. */
export type HeaderChange = Partial<Pick<DiskHeader, 'size' | 'wrap' | 'set' | 'generation'>>;

/**
 * Replaces the header: the new one is durable and read back before `commit`, and the old one is erased after it, so a wrap
 * is always somewhere and the header is never behind the events. A header ahead of them is caught up by its reader.
 * @param expected the header the change was prepared from
 * @returns the new header, and what `commit` returned
 * @throws Rejection ABORTED HEADER_STALE when it has changed since; FAILED_PRECONDITION DISK_HOST_REPLACED; and whatever
 *   `commit` throws
 */
export const replaceHeader = <Committed>(
  volumes: Volumes,
  volumeId: string,
  expected: DiskHeader,
  change: HeaderChange,
  commit: (header: DiskHeader) => Promise<Committed>,
): Promise<{ readonly header: DiskHeader; readonly committed: Committed }> =>
  volumes.withHeader(volumeId, async (open) => {
    const { current, previous } = await readHeader(open);
    if (headerDigest(current) !== headerDigest(expected)) {
      throw new Rejection(
        'ABORTED',
        'HEADER_STALE',
        `the header has sequence ${current.sequence}, and ${expected.sequence} was read before: read it again`,
        {
          sequence: String(current.sequence),
          expected: String(expected.sequence),
        },
      );
    }
    const { hostEpoch } = volumes;
    if (current.hostEpoch > hostEpoch) throw hostReplaced({ volume: volumeId }, hostEpoch);
    const next = { ...current, ...change, hostEpoch, sequence: current.sequence + 1 };
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

/** The key version and generation a header says, as events and the API have them. */
export const wrapRefOf = (encryption: Encryption, header: DiskHeader): WrapRef =>
  setOf(encryption) === ''
    ? { keyVersion: '', generation: 0 }
    : { keyVersion: header.wrap.keyVersion, generation: header.generation };

/** Which header of a volume this is, as events have it. */
export const headerRefOf = (volumeId: string, header: DiskHeader): HeaderRef => ({
  volumeId,
  headerSequence: header.sequence,
  headerDigest: headerDigest(header),
});

/** Where a volume lies, as events have it. @param dekAuthenticator that of the DEK the header wraps */
export const volumeRefOf = (volumeId: string, header: DiskHeader, dekAuthenticator: string): VolumeRef => ({
  ...headerRefOf(volumeId, header),
  dekId: header.dekId,
  dekDiskId: header.diskId,
  dekAuthenticator,
});
