import { type Category, Rejection } from '@interlock/event-store';
import { DomainAttribute, type Logger } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import { setOf } from '../../disk/encryption.ts';
import type { DiskEvent } from '../../disk/events.ts';
import type { Disk } from '../../disk/state.ts';
import type { Snapshot } from '../../snapshot/decider.ts';
import type { SnapshotEvent } from '../../snapshot/events.ts';
import type { DekHolder } from '../keys/deks.ts';
import { hostReplaced } from '../ownership.ts';
import type { Volumes } from '../volume/volumes.ts';
import {
  erasePrevious,
  type FoundHeader,
  findHeader,
  forgetHeader,
  type OpenHeader,
  restoreHeader,
  settleCurrent,
} from './disk-header.ts';
import { type BadSlot, type DiskHeader, headerDigest } from './disk-header-format.ts';
import { compareHeader } from './header-comparison.ts';
import type { StoredHeaders } from './stored-headers.ts';

/**
 * Headers that the store vouches for: the only way from a disk or snapshot to its header. What lies on storage is compared with the
 * events at every look (`compareHeader`). A header that is behind them, damaged or gone is written again from the row of the store,
 * reported, and returned. What this service did not write is refused and reported, and stays where it is until an operator has
 * looked at it. Rules CMK-10, CMK-13, CMK-88; guarantees G1, G2, G6.
 */
export interface Headers {
  /**
   * The header of a disk or snapshot: the one the store knows, or one that is ahead of it by own unfinished work.
   * @throws Rejection DATA_LOSS HEADER_BEHIND, HEADER_FORGED, HEADER_CORRUPT, VOLUME_MISSING; FAILED_PRECONDITION DISK_HOST_REPLACED
   */
  current(holder: DekHolder): Promise<DiskHeader>;
  /**
   * The same, on stable storage for certain: one that is ahead of the events may be in the memory of the operating system alone,
   * and events that followed it would be ahead of it once the power has gone. A later host's is that host's.
   */
  settled(holder: DekHolder): Promise<DiskHeader>;
  /** The same. Of the one before it nothing is left then, unless a later host wrote the current one: it is that host's. */
  tidied(holder: DekHolder): Promise<DiskHeader>;
}

/** What a header that is not returned was found to be, as errors name it. */
type Finding = 'HEADER_BEHIND' | 'HEADER_FORGED' | 'HEADER_CORRUPT';

/** What lies on storage, compared with what the store knows: the header, or what is wrong. */
type Look =
  | { readonly header: DiskHeader }
  | { readonly finding: Finding; readonly found: DiskHeader | undefined; readonly mayRestore: boolean };

/** Times the store may change between two reads of it before that is no coincidence. */
const readsMax = 3;

/** Opens them. */
export const openHeaders = (parts: {
  readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'load'>;
  readonly volumes: Volumes;
  readonly stored: Pick<StoredHeaders, 'get'>;
  readonly log: Pick<Logger, 'warn' | 'error'>;
  readonly meter: Meter;
}): Headers => {
  const { disks, snapshots, volumes, stored, log, meter } = parts;
  const findings = meter.createCounter('interlock.disk.header.finding', {
    description: 'Headers of disks and snapshots that storage returned and that are not those of the store',
  });
  // What only appears with its first finding would never be seen to rise.
  for (const finding of ['HEADER_BEHIND', 'HEADER_FORGED', 'HEADER_CORRUPT'] satisfies readonly Finding[])
    findings.add(0, { [DomainAttribute.rejectionReason]: finding });
  /** By volume: what was reported and is so still. */
  const reported = new Map<string, Finding>();

  const report = (holder: DekHolder, { finding, found }: Extract<Look, { finding: Finding }>, isRestored: boolean) => {
    const { volumeId, headerSequence, headerDigest: digest } = holder.volume;
    findings.add(1, { [DomainAttribute.rejectionReason]: finding });
    if (reported.get(volumeId) === finding) return;
    if (!isRestored) reported.set(volumeId, finding);
    const facts = {
      resource: holder.name,
      volumeId,
      reason: finding,
      isRestored,
      expected: { sequence: headerSequence, digest },
      found: found && factsOf(found),
    };
    if (finding === 'HEADER_BEHIND') log.warn('storage returned an earlier header than the store knows', facts);
    else log.error('storage returned a header that is not the one of the store', facts);
  };

  /** What the store knows by now. What is being made is in no state yet: of that, what its maker knows. */
  const latest = async (holder: DekHolder): Promise<DekHolder> => {
    const { name, volume } = holder;
    const isSnapshot = name.split('/').at(-2) === 'snapshots';
    const { state } = await (isSnapshot ? snapshots : disks).load(name);
    const isSame = state.status === 'active' && state.volume.volumeId === volume.volumeId;
    return isSame ? { ...state, name } : holder;
  };

  /** @returns undefined where the store has changed between two reads of it */
  const restore = async (open: OpenHeader, now: DekHolder): Promise<DiskHeader | undefined> => {
    const { volumeId, headerDigest: expected } = now.volume;
    const kept = await stored.get(volumeId);
    if (!kept || headerDigest(kept) !== expected) return undefined;
    const header = { ...kept, hostEpoch: volumes.hostEpoch };
    await restoreHeader(open, header);
    return header;
  };

  /** Looks again, at both: what is judged was read by a reader who may have been late. */
  const judged = async (open: OpenHeader, holder: DekHolder): Promise<DiskHeader> => {
    for (let reads = 1; ; reads += 1) {
      const now = await latest(holder);
      forgetHeader(open);
      const look = compared(now, await findHeader(open));
      if ('header' in look) return look.header;
      const { hostEpoch } = volumes;
      if (look.found && look.found.hostEpoch > hostEpoch)
        throw hostReplaced({ volume: now.volume.volumeId }, hostEpoch);
      const restored = look.mayRestore ? restore(open, now) : undefined;
      const header = await restored?.catch((error: unknown) => {
        // The storage failed: the disk is out of reach until it can be written.
        report(now, look, false);
        throw error;
      });
      if (look.mayRestore && !header && reads < readsMax) continue;
      report(now, look, header !== undefined);
      if (header) return header;
      throw refusal(now, look);
    }
  };

  const inTurn = (holder: DekHolder, then?: (open: OpenHeader, header: DiskHeader) => Promise<void>) =>
    volumes.withHeader(holder.volume.volumeId, async (open) => {
      const look = compared(holder, await findHeader(open));
      const header = 'header' in look ? look.header : await judged(open, holder);
      if (reported.size > 0) reported.delete(holder.volume.volumeId);
      if (header.hostEpoch <= volumes.hostEpoch) await then?.(open, header);
      return header;
    });

  return {
    current: (holder) => inTurn(holder),
    settled: (holder) => inTurn(holder, settleCurrent),
    tidied: (holder) => inTurn(holder, erasePrevious),
  };
};

const compared = ({ encryption, changing, volume }: DekHolder, found: FoundHeader | 'empty' | BadSlot): Look => {
  // Erased by an operator who has looked at what was there, too.
  if (found === 'empty') return { finding: 'HEADER_BEHIND', found: undefined, mayRestore: true };
  if (typeof found === 'string') {
    const finding = found === 'forged' ? 'HEADER_FORGED' : 'HEADER_CORRUPT';
    return { finding, found: undefined, mayRestore: finding === 'HEADER_CORRUPT' };
  }
  const { current } = found;
  const sets = [encryption, ...(changing ? [changing.encryption] : [])].map(setOf);
  const standing = compareHeader({ volume, sets }, current);
  if (standing === 'equal' || standing === 'ahead') return { header: current };
  const finding = standing === 'behind' ? 'HEADER_BEHIND' : 'HEADER_FORGED';
  // This service wrote it. Where it is ahead of the store, the store may be the one that was put back: it is kept.
  return { finding, found: current, mayRestore: current.sequence <= volume.headerSequence };
};

/** What of a header tells an operator where it comes from. */
const factsOf = (header: DiskHeader) => ({
  sequence: header.sequence,
  digest: headerDigest(header),
  keyVersion: header.wrap.keyVersion,
  set: header.set,
  sizeBytes: header.size,
  hostEpoch: header.hostEpoch,
});

const refusal = ({ name, volume }: DekHolder, { finding, found }: Extract<Look, { finding: Finding }>): Rejection => {
  const sequence = String(found?.sequence ?? '');
  const metadata = {
    resource: name,
    volume: volume.volumeId,
    expected_sequence: String(volume.headerSequence),
    found_sequence: sequence,
  };
  const text = (what: string): string =>
    `the header of ${name} cannot be used: ${what}; the store expects sequence ${volume.headerSequence}. See docs/how-to/restore-a-volume.md`;
  switch (finding) {
    case 'HEADER_BEHIND': {
      const what = found ? `storage returned an earlier one, with sequence ${sequence}` : 'storage has none';
      return new Rejection('DATA_LOSS', 'HEADER_BEHIND', text(what), metadata);
    }
    case 'HEADER_FORGED': {
      const what = found
        ? `storage returned one with sequence ${sequence} and other content`
        : 'this service did not write what storage returned, or wrote it for another volume';
      return new Rejection('DATA_LOSS', 'HEADER_FORGED', text(what), metadata);
    }
    case 'HEADER_CORRUPT':
      return new Rejection('DATA_LOSS', 'HEADER_CORRUPT', text('none of its slots can be read'), metadata);
  }
};
