import { Rejection } from '@interlock/event-store';
import type { StorageRecord } from '../faults/storage-record.ts';
import type { DefiniteReason } from '../oracle/access.ts';
import type { KnownDisk } from '../oracle/disks.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { Outcome, Verdict } from '../runs/history-log.ts';
import type { Troubles } from '../workload/troubles.ts';
import type { Bounds } from './bounds.ts';

/** A read, write or flush that ended, as the guest recorded it. Times in milliseconds of true time. */
export interface DiskIo {
  readonly kind: 'read' | 'write' | 'flush';
  readonly disk: string;
  readonly by: 'machine' | 'user';
  /** Which open its token belongs to. */
  readonly attachEpoch: number;
  readonly invokedMs: number;
  readonly outcome: Outcome;
  readonly error: unknown;
}

/** Reasons that say that somebody decided about the key. */
export const definiteReasons: ReadonlySet<string> = new Set<DefiniteReason>([
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_DELETED',
  'KEY_PURGED',
  'KEY_VERSION_NOT_FOUND',
  'VAULT_DELETED',
  'ACCESS_DENIED',
  'IDENTITY_DELETED',
]);

/** No answer about the key, or none about the request: an outage must be behind each. */
const outages: ReadonlySet<string> = new Set([
  'KEY_VAULT_UNREACHABLE',
  'THROTTLED',
  'STORE_UNAVAILABLE',
  'DEPENDENCY_UNAVAILABLE',
  // The store that the host's hold of its volumes is renewed in was away for longer than that lasts.
  'DISK_HOST_LEASE_OVER',
]);

/** The session is over: what becomes of it is judged at the end of the history, when everything must be readable. */
const endings: ReadonlySet<string> = new Set([
  'ATTACH_EPOCH_OUTDATED',
  'DISK_ACCESS_TOKEN_INVALID',
  'DISK_NOT_FOUND',
  'KEY_ACCESS_RETURNED',
  'DISK_DELETING',
  'DISK_CHANGING',
]);

/** G1, G3 and G6 of reads and writes: what may succeed, and what may fail why. */
export const ioJudge = (parts: {
  readonly log: Verdict;
  readonly truth: Truth;
  readonly troubles: Troubles;
  readonly storage: Pick<StorageRecord, 'happenedSince'>;
  readonly bounds: Bounds;
}) => {
  const { log, truth, troubles, storage, bounds } = parts;
  /** The last flush of each disk that the storage did not do. */
  const failedFlushes = new Map<string, DiskIo & { readonly endedMs: number }>();

  /**
   * Whether the lease of a running machine's ultra disk is pinned: opened before the loss, by a process that still lives
   * (CMK-102). `surely`: that process opened it; one that began later may have got the data key again before the loss, and
   * what the vault was asked before the loss it may have answered before it, though the open is on record after. What
   * was asked for before the disk was closed may have been done before, though it is answered after.
   */
  const isPinned = (disk: KnownDisk, { by, attachEpoch, invokedMs }: DiskIo, how: 'surely' | 'maybe'): boolean => {
    const { sku, closed } = disk;
    const isJustClosed = how === 'maybe' && closed?.attachEpoch === attachEpoch && invokedMs <= closed.closedMs;
    const open = isJustClosed ? closed : disk.open;
    if (by !== 'machine' || sku !== 'ultra' || open?.attachEpoch !== attachEpoch) return false;
    const sinceMs = Math.min(...truth.standing(disk, 'running').map(({ sinceMs }) => sinceMs));
    const startedMs = troubles.startedMs('disk');
    if (how === 'surely') return open.atMs <= sinceMs && startedMs <= open.atMs;
    return open.askedMs <= sinceMs && startedMs <= sinceMs;
  };

  /** The storage may have forgotten what a failed flush was to store, so no later one of that open can promise it (G5). */
  const afterFlush = ({ disk, attachEpoch, invokedMs }: DiskIo): void => {
    const failed = failedFlushes.get(disk);
    if (failed?.attachEpoch !== attachEpoch || invokedMs < failed.endedMs) return;
    if (troubles.startedMs('disk') > failed.invokedMs) return;
    log.violate(
      'G5',
      `no flush of ${disk} succeeds after the one that failed at ${seconds(failed.endedMs)}`,
      `one invoked at ${seconds(invokedMs)} did`,
    );
  };

  const afterSuccess = (disk: KnownDisk, io: DiskIo): void => {
    const boundMs = truth.boundMs(disk);
    if (boundMs === undefined || isPinned(disk, io, 'maybe')) return;
    const why = truth.standing(disk, 'running').map(({ reason, sinceMs }) => `${reason} since ${seconds(sinceMs)}`);
    const what = `a ${io.kind} on ${disk.name}, under ${truth.disks.keyVersionOf(disk)} (${why.join(', ')})`;
    if (io.invokedMs > boundMs) {
      log.violate(
        'G1',
        `no read or write invoked after ${seconds(boundMs)} succeeds on ${disk.name}`,
        `${what} invoked at ${seconds(io.invokedMs)} succeeded`,
      );
      return;
    }
    // Slow storage is no excuse: the lease is looked at again behind it.
    const troubledMs = troubles.lastMs(['disk', 'calls', 'outside', 'store']);
    const isPlain = troubledMs === undefined || troubledMs < io.invokedMs;
    if (isPlain && truth.nowMs() > boundMs + bounds.answerMs) {
      log.violate('G1', `no answer is given after ${seconds(boundMs)}`, `${what} was answered later`);
    }
  };

  /** Whether a key of the set was lost for that reason at a time that can explain a failure now. */
  const wasLost = (set: string, keyVersion: string, reason: string, sinceMs: number): boolean =>
    truth.losses.losses(set, keyVersion, 'opening').some(({ untilMs, reasons }) => {
      const isLate = untilMs !== undefined && untilMs < sinceMs - bounds.newsMs;
      return !isLate && ([...reasons] as readonly string[]).includes(reason);
    });

  /** Judges a refusal for a key: it must have been lost, for that very reason. */
  const afterKeyRefusal = (what: string, error: Rejection, invokedMs: number): void => {
    const { key_version: keyVersion, disk_encryption_set: set } = error.metadata;
    if (keyVersion === undefined || set === undefined) {
      log.violate('G10', 'a refusal for a key names set and key version', `${what}: ${error.reason}: ${error.message}`);
    } else if (!wasLost(set, keyVersion, error.reason, invokedMs)) {
      log.violate(
        'G3',
        `${what} does not fail for a key that was not lost so`,
        `${error.reason} of ${keyVersion} for ${set}`,
      );
    }
  };

  /** Whether the storage gave a reason to refuse it so. */
  const isOfStorage = ({ kind, invokedMs }: DiskIo, reason: string, volumeId: string | undefined): boolean => {
    if (reason === 'STORAGE_FULL') return storage.happenedSince(invokedMs, 'full', volumeId);
    // Whatever was flushed there by this process: it has the volume open for all who use it.
    return (
      reason === 'FLUSH_FAILED' &&
      kind === 'flush' &&
      storage.happenedSince(troubles.startedMs('disk'), 'flush', volumeId)
    );
  };

  const afterFailure = (disk: KnownDisk | undefined, io: DiskIo): void => {
    const { outcome, error, kind, invokedMs } = io;
    if (kind === 'flush' && storage.happenedSince(invokedMs, 'flush', disk?.volumeId)) {
      failedFlushes.set(io.disk, { ...io, endedMs: truth.nowMs() });
    }
    const what = `the ${kind} on ${io.disk} by its ${io.by}`;
    const excuseMs = troubles.lastAnyMs();
    const hasExcuse = excuseMs !== undefined && excuseMs >= io.invokedMs - bounds.excuseMs;
    if (!(error instanceof Rejection)) {
      // Who writes to a disk that is copied waits, at times for longer than a guest does.
      if (kind === 'write' && truth.copies.heldWritersSince(io.disk, io.invokedMs)) return;
      if (!hasExcuse) log.violate('G3', `${what} is answered while nothing is wrong`, codeOf(outcome));
      return;
    }
    const { reason } = error;
    if (definiteReasons.has(reason)) {
      afterKeyRefusal(what, error, io.invokedMs);
      if (disk && isPinned(disk, io, 'surely') && truth.nowMs() > (disk.open?.atMs ?? 0)) {
        log.violate('G3', `${what} goes on: its lease is pinned`, `${reason}: ${error.message}`);
      }
    } else if (outages.has(reason)) {
      if (!hasExcuse) log.violate('G3', `${what} does not fail for an outage while nothing is wrong`, reason);
    } else if (!endings.has(reason) && !isOfStorage(io, reason, disk?.volumeId)) {
      log.violate('G6', `${what} fails for a key or an outage or not at all`, `${reason}: ${error.message}`);
    }
  };

  return {
    afterKeyRefusal,
    onIo(io: DiskIo): void {
      const disk = truth.disks.disks.get(io.disk);
      if (io.outcome.kind !== 'ok') afterFailure(disk, io);
      else if (io.kind === 'flush') afterFlush(io);
      else if (disk) afterSuccess(disk, io);
    },
  };
};

const codeOf = (outcome: Outcome): string => (outcome.kind === 'ok' ? 'OK' : outcome.code);

/** A moment as the log writes it. */
export const seconds = (ms: number): string => (ms / 1_000).toFixed(3);
