import { Rejection } from '@interlock/event-store';
import { erasePrevious, readHeader, writeHeader } from '../header/disk-header.ts';
import { type DiskHeader, headerDigest } from '../header/disk-header-format.ts';
import { hostReplaced } from '../owner/ownership.ts';
import type { Volumes } from './volumes.ts';

/** What changes in a header. */
export type HeaderChange = Partial<Pick<DiskHeader, 'size' | 'wrap' | 'set' | 'generation'>>;

/**
 * Replaces the header. The new one is durable and read back before `commit`; the old one is erased after it. So there is always a
 * wrap, and the header is never behind the events. The next reader lets the events follow a header that is ahead.
 * @param expected the header the change was prepared from
 * @returns the new header, and the result of `commit`
 * @throws Rejection ABORTED HEADER_STALE if it has changed since; FAILED_PRECONDITION DISK_HOST_REPLACED; whatever `commit` throws
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
        { sequence: String(current.sequence), expected: String(expected.sequence) },
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
