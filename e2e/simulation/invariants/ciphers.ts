import type { RecordedEvent } from '@interlock/event-store';
import type { Findings } from '@interlock/lab/judge/findings';
import type { Bounds } from '@interlock/lab/judge/invariants/bounds';
import { reasonsOf } from '@interlock/lab/judge/invariants/io';
import { type KnownDisk, nameIn } from '@interlock/lab/judge/model/disks';
import { type Disturbances, disturbedHosts } from '@interlock/lab/judge/model/disturbances';
import { nameOf } from '../cloud/parts.ts';
import type { Committed, SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/** How long after the loss, the move or the bound a host may take to overwrite a DEK that it may no longer use, in milliseconds. */
const lateMs = 1_000;

interface Parts {
  readonly world: Pick<SimulatedCloud, 'cipherHolders' | 'diskHosts' | 'hasControl' | 'settings'>;
  readonly log: Findings;
  readonly truth: Pick<SimulatedTruth, 'nowMs' | 'boundMs' | 'blockers'> & {
    readonly disks: { readonly disks: ReadonlyMap<string, KnownDisk> };
  };
  readonly disturbances: Disturbances;
  readonly bounds: Bounds;
}

/** G8 for memory: when the right to use a DEK ends, the host destroys the cipher that holds it, with or without I/O. */
export class CipherJudge {
  readonly #parts: Parts;
  /** Ended accesses whose end a control process committed, because the host did not respond. */
  readonly #endedByControl = new WeakSet<NonNullable<KnownDisk['closed']>>();
  /** By disk: the host that committed its last move. */
  readonly #movedBy = new Map<string, string>();
  /** When each set last published a loss, by its full name. */
  readonly #publishedMs = new Map<string, number>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Notes a loss that a set publishes. */
  onEvent({ stream, type }: Pick<RecordedEvent, 'stream' | 'type'>): void {
    if (type === 'KeyAccessLost') this.#publishedMs.set(stream.slice('set-'.length), this.#parts.truth.nowMs());
  }

  /** Notes who moved a disk, and who ended an access, by a commit of disk, after the truth has applied it. */
  onCommit({ by, events }: Pick<Committed, 'by' | 'events'>): void {
    const { world, truth } = this.#parts;
    const host = world.diskHosts.find(({ replica }) => by !== undefined && nameOf(replica) === nameOf(by));
    for (const { stream, type } of events)
      if (host && type === 'VolumeMoved') this.#movedBy.set(nameIn(stream), host.name);
    if (!world.hasControl || by === undefined || nameOf(by) !== 'disk') return;
    for (const { stream } of events) {
      const closed = truth.disks.disks.get(nameIn(stream))?.closed;
      if (closed?.closedMs === truth.nowMs()) this.#endedByControl.add(closed);
    }
  }

  /** Checks every disk, at any moment. */
  check(): void {
    const { world, log, truth } = this.#parts;
    for (const disk of truth.disks.disks.values()) {
      if (disk.isSnapshot) continue;
      const holders = world.cipherHolders(disk.name);
      const other = holders.find((host) => host !== disk.host && !this.#mayHandOver(disk, host));
      if (other !== undefined) {
        log.violate('G1', `only ${disk.host}, the host of ${disk.name}, has its DEK in memory`, `${other} has it`);
        return;
      }
      if (disk.set === '' || holders.length === 0 || this.#mayHold(disk)) continue;
      const why = reasonsOf(truth.blockers(disk, 'running'));
      log.violate('G8', `the DEK of ${disk.name} is overwritten: its key is lost (${why})`, 'it is in memory');
      return;
    }
  }

  /**
   * The sender of a move overwrites the DEK when the store has acknowledged the move, which may take a while. Until then it lets no write
   * through, so what its machine reads there is what the receiver has too.
   */
  #mayHandOver({ name, movedAtMs }: KnownDisk, host: string): boolean {
    const { truth, disturbances } = this.#parts;
    const awayMs = disturbances.lastMs(disturbedHosts([host])) ?? 0;
    return this.#movedBy.get(name) === host && truth.nowMs() <= Math.max(movedAtMs, awayMs) + lateMs;
  }

  /** Disks whose key is usable, and disks of running machines that keep their DEK through a loss (CMK-102). */
  #mayHold(disk: KnownDisk): boolean {
    const { truth, disturbances, bounds } = this.#parts;
    const boundMs = truth.boundMs(disk);
    const nowMs = truth.nowMs();
    const awayMs = disturbances.lastMs(disturbedHosts([disk.host])) ?? 0;
    if (boundMs === undefined || this.#isPinned(disk, nowMs, awayMs)) return true;
    const lostMs = Math.min(...truth.blockers(disk, 'running').map(({ sinceMs }) => sinceMs));
    // While events arrive, a loss is known at once. An open or move in progress learns of it by a refusal.
    const disturbedMs = disturbances.lastOfHostMs(disk.host) ?? Number.NEGATIVE_INFINITY;
    const isPrompt = disturbedMs < lostMs - bounds.calmMs;
    const knownMs = this.#knownMs(disk.set, lostMs);
    if (isPrompt && nowMs > Math.max(knownMs, disk.movedAtMs, disk.open?.atMs ?? 0) + lateMs) return false;
    return nowMs <= Math.max(boundMs, awayMs) + lateMs;
  }

  /**
   * When a set knows a loss: at once, unless it has to check its access. A control process passes that check on, so without one it is
   * known when the set publishes it. @returns infinity while it is not known
   */
  #knownMs(set: string, lostMs: number): number {
    const { disturbances, bounds } = this.#parts;
    const controlMs = disturbances.lastMs(['disk-control']) ?? Number.NEGATIVE_INFINITY;
    if (controlMs < lostMs - bounds.calmMs) return lostMs;
    const publishedMs = this.#publishedMs.get(set) ?? Number.NEGATIVE_INFINITY;
    return publishedMs < lostMs ? Number.POSITIVE_INFINITY : publishedMs;
  }

  /**
   * A close ends the session only once the store has acknowledged it, which may take a while. If control committed it, the host learns
   * of it before it renews its lease of the volumes (G2). @param awayMs until when the host was away
   */
  #isPinned({ sku, open, closed }: KnownDisk, nowMs: number, awayMs: number): boolean {
    if (sku !== 'ultra') return false;
    if (open?.by === 'machine') return true;
    if (closed?.by !== 'machine') return false;
    const learnsMs = this.#endedByControl.has(closed) ? this.#parts.world.settings.hostLeaseTtlMs : 0;
    return nowMs <= Math.max(closed.closedMs, awayMs) + learnsMs + lateMs;
  }
}
