import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import type { Bounds } from '../invariants/bounds.ts';
import { DiskContent } from './content.ts';
import { CopyTruth, type MadeCopy } from './copies.ts';
import type { DiskTruth, KnownDisk } from './disks.ts';
import { type Blocker, LossTruth, noBlockers, type Purpose } from './losses.ts';
import { MachineTruth } from './machines.ts';

/** Events that a service stored together. */
export interface StoredEvents {
  readonly service: Workload;
  readonly events: readonly RecordedEvent[];
}

/**
 * The true state of a cloud, derived from what its services committed, without their code: which key could be used since when,
 * what is under it, which machine has which disk, what a read may return.
 */
export class Truth<Disks extends DiskTruth = DiskTruth> {
  /** On the clock of the judged run, in milliseconds. */
  readonly nowMs: () => number;
  readonly losses: LossTruth;
  readonly disks: Disks;
  readonly machines: MachineTruth;
  readonly copies: CopyTruth;
  /** What was written, by name of the disk or snapshot. */
  readonly contents = new Map<string, DiskContent>();
  readonly #bounds: Pick<Bounds, 'leaseTtlMs' | 'authzTtlMs'>;

  constructor(parts: {
    readonly nowMs: () => number;
    /** Wall clock of key-vault's machine, which dates of keys refer to. */
    readonly vaultNow: () => number;
    readonly disks: Disks;
    readonly bounds: Pick<Bounds, 'leaseTtlMs' | 'authzTtlMs'>;
  }) {
    const { nowMs, vaultNow, disks, bounds } = parts;
    this.nowMs = nowMs;
    this.losses = new LossTruth(nowMs, vaultNow);
    this.disks = disks;
    this.machines = new MachineTruth(nowMs);
    this.copies = new CopyTruth({ nowMs, disks, contentOf: (name) => this.contentOf(name) });
    this.#bounds = bounds;
  }

  contentOf(name: string): DiskContent {
    const found = this.contents.get(name) ?? new DiskContent();
    this.contents.set(name, found);
    return found;
  }

  /** @returns the copies that the events record */
  apply({ service, events }: StoredEvents): readonly MadeCopy[] {
    const made: MadeCopy[] = [];
    for (const event of events) {
      if (service === 'disk') {
        const copy = this.#applyDisk(event);
        if (copy) made.push(copy);
      } else if (service === 'compute') this.machines.apply(event);
      else this.losses.apply(event);
    }
    return made;
  }

  /** What blocks the use of a disk's data key now; empty for a disk under a platform key. */
  blockers(disk: KnownDisk, purpose: Purpose): readonly Blocker[] {
    if (disk.set === '') return noBlockers;
    const found = this.losses.blockers(disk.set, this.disks.keyVersionOf(disk), purpose);
    if (found.length === 0) return found;
    const other = this.disks.otherVersionOf(disk);
    const isOtherUsable = other !== undefined && this.losses.blockers(disk.set, other, purpose).length === 0;
    return isOtherUsable ? noBlockers : found;
  }

  /** From when on no operation on the disk may be invoked and succeed (`t0 + bound`); undefined while its key can be used. */
  boundMs(disk: KnownDisk): number | undefined {
    const found = this.blockers(disk, 'running');
    // Nearly every call ends here, because judges check every disk at every step.
    if (found.length === 0) return undefined;
    // A disk that moved to the key later has its lease from that moment.
    return Math.min(...found.map((blocker) => this.boundAfter(blocker, disk.movedAtMs)));
  }

  /** When a blocker must have taken effect. @param leasedMs when the last lease was granted, if after the loss */
  boundAfter({ sinceMs, owner }: Blocker, leasedMs = sinceMs): number {
    const { leaseTtlMs, authzTtlMs } = this.#bounds;
    return Math.max(sinceMs, leasedMs) + leaseTtlMs + (owner === 'identity' ? authzTtlMs : 0);
  }

  /** Whether the disk can never be read again: the key that wraps its data key was purged (CMK-108). */
  isGone(disk: KnownDisk): boolean {
    return disk.set !== '' && this.losses.access.isGone(this.disks.keyVersionOf(disk));
  }

  #applyDisk(event: RecordedEvent): MadeCopy | undefined {
    this.disks.apply(event);
    const made = this.copies.apply(event);
    // A change of encryption keeps the content under the same name.
    if (made && made.source?.name !== made.name) this.contents.set(made.name, made.content);
    return made;
  }
}
