import { Rejection } from '@interlock/event-store';
import { DomainAttribute, type Logger } from '@interlock/runtime';
import type { Counter, Meter } from '@opentelemetry/api';
import { setOf } from '../../disk/encryption.ts';
import {
  erasePrevious,
  type FoundHeader,
  findHeader,
  forgetHeader,
  makeCurrentDurable,
  type OpenHeader,
  restoreHeader,
} from '../header/disk-header.ts';
import { type BadSlot, type DiskHeader, headerDigest } from '../header/disk-header-format.ts';
import { compareHeader } from '../header/header-comparison.ts';
import type { DekHolder } from '../keys/deks.ts';
import { hostReplaced } from '../owner/ownership.ts';
import type { DiskRecords } from '../records.ts';
import type { Volumes } from './volumes.ts';

/** What is wrong with a header that storage returned, as errors name it. */
type Finding = 'HEADER_BEHIND' | 'HEADER_FORGED' | 'HEADER_CORRUPT';

/** The result of comparing storage with the store: the header, or what is wrong. */
type Comparison =
  | { readonly header: DiskHeader }
  | { readonly finding: Finding; readonly found: DiskHeader | undefined; readonly mayRestore: boolean };
type Mismatch = Extract<Comparison, { finding: Finding }>;

/** How often the store may change between two reads of it. */
const readsMax = 3;

/** What to do with a header besides reading it; each includes the one before. */
export type HeaderUse = 'read' | 'make durable' | 'erase previous';

interface HeadersParts {
  readonly records: Pick<DiskRecords, 'holder' | 'header'>;
  readonly volumes: Volumes;
  readonly log: Pick<Logger, 'warn' | 'error'>;
  readonly meter: Meter;
}

/**
 * The only access to the header of a disk or snapshot that exists. Every read compares storage with the store (decision 0004). An
 * older or damaged header is replaced from the store; a forged one is refused. A header ahead of the store is used.
 */
export class Headers {
  readonly #parts: HeadersParts;
  readonly #findings: Counter;
  /** By volume: the finding that was reported and still holds. */
  readonly #reported = new Map<string, Finding>();

  constructor(parts: HeadersParts) {
    this.#parts = parts;
    this.#findings = parts.meter.createCounter('interlock.disk.header.finding', {
      description: 'Headers of disks and snapshots that storage returned and that are not those of the store',
    });
    // A series that appears with its first finding would never be seen to rise.
    for (const finding of ['HEADER_BEHIND', 'HEADER_FORGED', 'HEADER_CORRUPT'] satisfies readonly Finding[])
      this.#findings.add(0, { [DomainAttribute.rejectionReason]: finding });
  }

  /**
   * The header of a disk or snapshot.
   * @param use `make durable` before events follow it; `erase previous` when they do: a crash may have left the previous slot
   * @throws Rejection DATA_LOSS HEADER_BEHIND, HEADER_FORGED, HEADER_CORRUPT, VOLUME_MISSING; ABORTED HEADER_STALE if `holder` has
   * another volume by now, or was deleted; FAILED_PRECONDITION DISK_HOST_REPLACED
   */
  inspect(holder: DekHolder, use: HeaderUse = 'read'): Promise<DiskHeader> {
    const { volumes } = this.#parts;
    const { volumeId } = holder.volume;
    return volumes.withHeader(volumeId, async (open) => {
      const comparison = compare(holder, await findHeader(open));
      const header = 'header' in comparison ? comparison.header : await this.#judge(open, holder);
      if (this.#reported.size > 0) this.#reported.delete(volumeId);
      if (header.hostEpoch > volumes.hostEpoch) return header;
      if (use === 'make durable') await makeCurrentDurable(open);
      if (use === 'erase previous') await erasePrevious(open);
      return header;
    });
  }

  /** Reads both again, because what was compared may have been read too early, and restores or refuses the header. */
  async #judge(open: OpenHeader, holder: DekHolder): Promise<DiskHeader> {
    const { hostEpoch } = this.#parts.volumes;
    for (let reads = 1; ; reads += 1) {
      const now = await this.#latest(holder);
      forgetHeader(open);
      const comparison = compare(now, await findHeader(open));
      if ('header' in comparison) return comparison.header;
      if (comparison.found && comparison.found.hostEpoch > hostEpoch)
        throw hostReplaced({ volume: now.volume.volumeId }, hostEpoch);
      const restored = comparison.mayRestore ? this.#restore(open, now) : undefined;
      const header = await restored?.catch((error: unknown) => {
        // The storage failed: the disk is unreachable until the header can be written.
        this.#report(now, comparison, false);
        throw error;
      });
      if (comparison.mayRestore && !header && reads < readsMax) continue;
      this.#report(now, comparison, header !== undefined);
      if (header) return header;
      throw refusal(now, comparison);
    }
  }

  /**
   * What the store knows by now.
   * @throws Rejection ABORTED HEADER_STALE: the caller read the resource before it was deleted, or got another volume
   */
  async #latest(holder: DekHolder): Promise<DekHolder> {
    const { records } = this.#parts;
    const { volumeId } = holder.volume;
    const now = await records.holder(holder.name);
    if (now?.volume.volumeId === volumeId) return now;
    throw new Rejection('ABORTED', 'HEADER_STALE', `${holder.name} was deleted or has another volume: read it again`, {
      resource: holder.name,
      volume: volumeId,
    });
  }

  /** @returns undefined if the store changed between two reads of it */
  async #restore(open: OpenHeader, { volume }: DekHolder): Promise<DiskHeader | undefined> {
    const stored = await this.#parts.records.header(volume.volumeId);
    if (!stored || headerDigest(stored) !== volume.headerDigest) return undefined;
    const header = { ...stored, hostEpoch: this.#parts.volumes.hostEpoch };
    await restoreHeader(open, header);
    return header;
  }

  #report({ name, volume }: DekHolder, { finding, found }: Mismatch, isRestored: boolean): void {
    const { log } = this.#parts;
    const { volumeId, headerSequence, headerDigest: digest } = volume;
    this.#findings.add(1, { [DomainAttribute.rejectionReason]: finding });
    if (this.#reported.get(volumeId) === finding) return;
    if (!isRestored) this.#reported.set(volumeId, finding);
    const facts = {
      resource: name,
      volumeId,
      reason: finding,
      isRestored,
      expected: { sequence: headerSequence, digest },
      found: found && factsOf(found),
    };
    if (finding === 'HEADER_BEHIND') log.warn('storage returned an earlier header than the store knows', facts);
    else log.error('storage returned a header that is not the one of the store', facts);
  }
}

const compare = ({ encryption, changing, volume }: DekHolder, found: FoundHeader | 'empty' | BadSlot): Comparison => {
  // An operator may have erased a header after looking at it.
  if (found === 'empty') return { finding: 'HEADER_BEHIND', found: undefined, mayRestore: true };
  if (typeof found === 'string') {
    const finding = found === 'forged' ? 'HEADER_FORGED' : 'HEADER_CORRUPT';
    return { finding, found: undefined, mayRestore: finding === 'HEADER_CORRUPT' };
  }
  const { current } = found;
  const sets = [encryption, ...(changing ? [changing.encryption] : [])].map(setOf);
  const comparison = compareHeader({ volume, sets }, current);
  if (comparison === 'equal' || comparison === 'ahead') return { header: current };
  const finding = comparison === 'behind' ? 'HEADER_BEHIND' : 'HEADER_FORGED';
  // This service wrote it. If it is ahead of the store, the store itself may have been restored: the header is kept.
  return { finding, found: current, mayRestore: current.sequence <= volume.headerSequence };
};

/** Where a header comes from, for an operator. */
const factsOf = (header: DiskHeader) => ({
  sequence: header.sequence,
  digest: headerDigest(header),
  keyVersion: header.wrap.keyVersion,
  set: header.set,
  sizeBytes: header.size,
  hostEpoch: header.hostEpoch,
});

const refusal = ({ name, volume }: DekHolder, { finding, found }: Mismatch): Rejection => {
  const sequence = String(found?.sequence ?? '');
  const why = {
    HEADER_BEHIND: found ? `storage returned an earlier one, with sequence ${sequence}` : 'storage has none',
    HEADER_FORGED: found
      ? `storage returned one with sequence ${sequence} and other content`
      : 'this service did not write what storage returned, or wrote it for another volume',
    HEADER_CORRUPT: 'none of its slots can be read',
  }[finding];
  return new Rejection(
    'DATA_LOSS',
    finding,
    `the header of ${name} cannot be used: ${why}; the store expects sequence ${volume.headerSequence}. See docs/how-to/restore-a-volume.md`,
    {
      resource: name,
      volume: volume.volumeId,
      expected_sequence: String(volume.headerSequence),
      found_sequence: sequence,
    },
  );
};
