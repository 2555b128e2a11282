import { type CallOutcome, type Findings, seconds } from '../findings.ts';
import { type DefiniteReason, isDefinite } from '../model/access.ts';
import type { KnownDisk } from '../model/disks.ts';
import { type Disturbances, disturbedHosts } from '../model/disturbances.ts';
import type { Blocker } from '../model/losses.ts';
import type { Truth } from '../model/truth.ts';
import type { Bounds } from './bounds.ts';

/** A refusal by a service. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
  /** The set whose key the refusal concerns, if it names one. */
  readonly set?: string | undefined;
  readonly keyVersion?: string | undefined;
}

/** A read, write or flush that ended, as the guest recorded it. Times on the clock of the judged run, in milliseconds. */
export interface DiskIo {
  readonly kind: 'read' | 'write' | 'flush';
  readonly disk: string;
  readonly by: 'machine' | 'user';
  /** The open that its token belongs to; absent if the guest did not record it: then the last open counts. */
  readonly attachEpoch?: number;
  readonly invokedMs: number;
  readonly outcome: CallOutcome;
  readonly refusal?: Refusal | undefined;
}

/** What storage failed to do, and when. */
export interface StorageFaults {
  /** Whether it happened at that time or later. @param volumeId only there; anywhere without it */
  happenedSince(sinceMs: number, failure: 'full' | 'failed' | 'flush', volumeId?: string): boolean;
}

/** Reasons that do not decide about the key: an outage must explain each. */
const outages: ReadonlySet<string> = new Set([
  'KEY_VAULT_UNREACHABLE',
  'THROTTLED',
  'STORE_UNAVAILABLE',
  'DEPENDENCY_UNAVAILABLE',
  // The host could not renew its lease on the volumes in its store before the lease ended.
  'DISK_HOST_LEASE_OVER',
]);

/** The session has ended. What was lost with it is judged at the end of the run, when everything must be readable. */
const endings: ReadonlySet<string> = new Set([
  'ATTACH_EPOCH_OUTDATED',
  'DISK_ACCESS_TOKEN_INVALID',
  'DISK_NOT_FOUND',
  'KEY_ACCESS_RETURNED',
  'DISK_DELETING',
  'DISK_CHANGING',
]);

/** The reasons that block a key, as a text. */
export const reasonsOf = (blockers: readonly Blocker[]): string =>
  blockers.map(({ reason, sinceMs }) => `${reason} since ${seconds(sinceMs)}`).join(', ');

export interface IoJudgeParts {
  readonly log: Findings;
  readonly truth: Pick<Truth, 'nowMs' | 'boundMs' | 'blockers' | 'losses' | 'disks' | 'copies'>;
  readonly disturbances: Pick<Disturbances, 'lastMs' | 'lastOfHostMs' | 'hostStartedMs'>;
  readonly storage: StorageFaults;
  readonly bounds: Bounds;
}

/** G1, G3, G5 and G6 for reads, writes and flushes: which may succeed, and which may fail for which reason. */
export class IoJudge {
  readonly #parts: IoJudgeParts;
  /** The last flush of each disk that storage failed. */
  readonly #failedFlushes = new Map<string, DiskIo & { readonly endedMs: number }>();

  constructor(parts: IoJudgeParts) {
    this.#parts = parts;
  }

  onIo(io: DiskIo): void {
    const disk = this.#parts.truth.disks.disks.get(io.disk);
    if (io.outcome.kind !== 'ok') this.#afterFailure(disk, io);
    else if (io.kind === 'flush') this.#afterFlush(io);
    else if (disk) this.#afterSuccess(disk, io);
  }

  /** A refusal because of a key: the key must have been lost for that very reason. */
  onKeyRefusal(what: string, { reason, message, keyVersion, set }: Refusal, invokedMs: number): void {
    const { log } = this.#parts;
    if (keyVersion === undefined || set === undefined) {
      log.violate('G10', 'a refusal because of a key names set and key version', `${what}: ${reason}: ${message}`);
    } else if (isDefinite(reason) && !this.#wasLost(set, keyVersion, reason, invokedMs)) {
      log.violate(
        'G3',
        `${what} does not fail for a key that was not lost so`,
        `${reason} of ${keyVersion} for ${set}`,
      );
    }
  }

  /**
   * Whether the lease of a running machine's ultra disk is pinned: opened before the loss by a process that still runs
   * (CMK-102). `surely`: that process opened it. `maybe` also counts an unwrap that was requested before the loss, and an
   * operation invoked before the disk was closed or its process ended. A host that did not respond when a control process closed the
   * disk serves it until it learns of that, for at most one lease; only then is the machine off (G2).
   */
  #isPinned(disk: KnownDisk, { by, attachEpoch, invokedMs }: DiskIo, how: 'surely' | 'maybe'): boolean {
    const { truth, disturbances } = this.#parts;
    const { sku, closed } = disk;
    const isOf = (open: KnownDisk['open']): boolean =>
      open !== undefined && (attachEpoch === undefined || open.attachEpoch === attachEpoch);
    const isJustClosed =
      how === 'maybe' &&
      closed !== undefined &&
      isOf(closed) &&
      invokedMs <= closed.closedMs + this.#learnsMs(disk.host, closed.closedMs);
    const open = isJustClosed ? closed : disk.open;
    if (by !== 'machine' || sku !== 'ultra' || open === undefined || !isOf(open)) return false;
    const sinceMs = Math.min(...truth.blockers(disk, 'running').map((blocker) => blocker.sinceMs));
    const startedMs = disturbances.hostStartedMs(disk.host);
    if (how === 'surely') return open.atMs <= sinceMs && startedMs <= open.atMs;
    // A process that ended after the operation was invoked may have served it before.
    return open.requestedMs <= sinceMs && (startedMs <= sinceMs || startedMs >= invokedMs);
  }

  /** How long a host may not know that a disk was closed at that time, in milliseconds. */
  #learnsMs(host: string, closedMs: number): number {
    const { disturbances, bounds } = this.#parts;
    const disturbedMs = disturbances.lastMs(disturbedHosts([host]));
    return disturbedMs !== undefined && disturbedMs >= closedMs - bounds.excuseMs ? bounds.hostAwayMs : 0;
  }

  #hostOf(disk: string): string {
    return this.#parts.truth.disks.hostOf(disk);
  }

  #afterSuccess(disk: KnownDisk, io: DiskIo): void {
    const { log, truth, disturbances, bounds } = this.#parts;
    const boundMs = truth.boundMs(disk);
    if (boundMs === undefined || this.#isPinned(disk, io, 'maybe')) return;
    const why = reasonsOf(truth.blockers(disk, 'running'));
    const what = `a ${io.kind} on ${disk.name}, under ${truth.disks.keyVersionOf(disk)} (${why})`;
    if (io.invokedMs > boundMs) {
      const expected = `no read or write invoked after ${seconds(boundMs)} succeeds on ${disk.name}`;
      log.violate('G1', expected, `${what} invoked at ${seconds(io.invokedMs)} succeeded`);
      return;
    }
    // Slow storage is no excuse, because the host checks the lease again after it.
    const disturbedMs = disturbances.lastMs([...disturbedHosts([disk.host]), 'calls', 'outside', 'store']);
    const isPlain = disturbedMs === undefined || disturbedMs < io.invokedMs;
    if (isPlain && truth.nowMs() > boundMs + bounds.answerMs) {
      log.violate('G1', `no response is sent after ${seconds(boundMs)}`, `${what} completed later`);
    }
  }

  /** Storage may have lost what a failed flush was to store, so no later flush of that open can promise it (G5). */
  #afterFlush({ disk, attachEpoch, invokedMs }: DiskIo): void {
    const failed = this.#failedFlushes.get(disk);
    if (failed?.attachEpoch !== attachEpoch || failed === undefined || invokedMs < failed.endedMs) return;
    if (this.#parts.disturbances.hostStartedMs(this.#hostOf(disk)) > failed.invokedMs) return;
    this.#parts.log.violate(
      'G5',
      `no flush of ${disk} succeeds after the one that failed at ${seconds(failed.endedMs)}`,
      `one invoked at ${seconds(invokedMs)} did`,
    );
  }

  #afterFailure(disk: KnownDisk | undefined, io: DiskIo): void {
    const { log, truth, disturbances, storage, bounds } = this.#parts;
    const { outcome, refusal, kind, invokedMs } = io;
    if (kind === 'flush' && storage.happenedSince(invokedMs, 'flush', disk?.volumeId)) {
      this.#failedFlushes.set(io.disk, { ...io, endedMs: truth.nowMs() });
    }
    const what = `the ${kind} on ${io.disk} by its ${io.by}`;
    const hasExcuse = this.#hostsCalled(disk, io).some((host) => {
      const disturbedMs = disturbances.lastOfHostMs(host);
      return disturbedMs !== undefined && disturbedMs >= invokedMs - bounds.excuseMs;
    });
    if (!refusal) {
      // A writer to a disk that is being copied waits, sometimes for longer than its deadline.
      if (kind === 'write' && truth.copies.heldWritersSince(io.disk, invokedMs)) return;
      const code = outcome.kind === 'ok' ? 'OK' : outcome.code;
      if (!hasExcuse) log.violate('G3', `${what} is answered without a disturbance`, code);
    } else if (isDefinite(refusal.reason)) this.#afterDefinite(what, disk, io, refusal);
    else if (outages.has(refusal.reason)) {
      if (!hasExcuse) log.violate('G3', `${what} does not fail for an outage without a disturbance`, refusal.reason);
    } else if (!endings.has(refusal.reason) && !this.#isOfStorage(io, refusal.reason, disk?.volumeId)) {
      const actual = `${refusal.reason}: ${refusal.message}`;
      log.violate('G6', `${what} fails only for a key or an outage`, actual);
    }
  }

  /**
   * The hosts that an operation may have called. A call that was lost on its way ends with its deadline, maybe after the disk has
   * moved. A machine whose open has ended finds no new host: it calls the one of its open, wherever the disk has moved since.
   */
  #hostsCalled(disk: KnownDisk | undefined, { disk: name, by, attachEpoch, invokedMs }: DiskIo): readonly string[] {
    const { disks } = this.#parts.truth;
    const hasEnded = by === 'machine' && attachEpoch !== undefined && disk?.open?.attachEpoch !== attachEpoch;
    return hasEnded ? [...disks.hostsOf(name)] : [disks.hostAt(name, invokedMs)];
  }

  #afterDefinite(what: string, disk: KnownDisk | undefined, io: DiskIo, refusal: Refusal): void {
    const { log, truth } = this.#parts;
    this.onKeyRefusal(what, refusal, io.invokedMs);
    if (disk && this.#isPinned(disk, io, 'surely') && truth.nowMs() > (disk.open?.atMs ?? 0)) {
      log.violate('G3', `${what} continues: its lease is pinned`, `${refusal.reason}: ${refusal.message}`);
    }
  }

  /** Whether a set lost a key for that reason at a time that can explain a failure now. */
  #wasLost(set: string, keyVersion: string, reason: DefiniteReason, sinceMs: number): boolean {
    const { truth, bounds } = this.#parts;
    return truth.losses.losses(set, keyVersion, 'opening').some(({ untilMs, reasons }) => {
      const isTooOld = untilMs !== undefined && untilMs < sinceMs - bounds.newsMs;
      return !isTooOld && reasons.has(reason);
    });
  }

  /** Whether storage explains the refusal. */
  #isOfStorage({ kind, disk, invokedMs }: DiskIo, reason: string, volumeId: string | undefined): boolean {
    const { storage, disturbances } = this.#parts;
    if (reason === 'STORAGE_FULL') return storage.happenedSince(invokedMs, 'full', volumeId);
    // A process has a volume open for all its users: any failed flush of this process counts.
    const startedMs = disturbances.hostStartedMs(this.#hostOf(disk));
    return reason === 'FLUSH_FAILED' && kind === 'flush' && storage.happenedSince(startedMs, 'flush', volumeId);
  }
}
