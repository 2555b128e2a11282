import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { KnownDisk } from '../oracle/disks.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { HistoryLog } from '../runs/history-log.ts';
import type { Troubles } from '../workload/troubles.ts';
import type { Bounds } from './bounds.ts';
import { seconds } from './io.ts';

/** How long after the loss or the bound a host may take to overwrite what it may not use any more, in milliseconds. */
const lateMs = 1_000;

/**
 * G8 of memory: when the right to use a DEK ends, the cipher that holds it is destroyed, whether anybody reads or not.
 */
export const cipherJudge = (parts: {
  readonly world: SimulatedCloud;
  readonly log: HistoryLog;
  readonly truth: Truth;
  readonly troubles: Troubles;
  readonly bounds: Bounds;
}) => {
  const { world, log, truth, troubles, bounds } = parts;

  /** Disks of running machines that keep their DEK through a loss (CMK-102), and those nothing was lost of. */
  const mayHold = (disk: KnownDisk): boolean => {
    const boundMs = truth.boundMs(disk);
    if (boundMs === undefined || isPinned(disk)) return true;
    const lostMs = Math.min(...truth.standing(disk, 'running').map(({ sinceMs }) => sinceMs));
    const anyMs = troubles.lastAnyMs() ?? 0;
    // While events flow a loss is heard at once; who opens or moves a disk meanwhile hears of it by the refusal.
    const isPrompt = anyMs < lostMs - bounds.calmMs;
    if (isPrompt && truth.nowMs() > Math.max(lostMs, disk.movedAtMs, disk.open?.atMs ?? 0) + lateMs) return false;
    const troubledMs = troubles.lastMs(['disk']) ?? 0;
    return truth.nowMs() <= Math.max(boundMs, troubledMs) + lateMs;
  };

  /** A close that is stored ends the session once the store has said so, and that may take its time. */
  const isPinned = ({ sku, open, closed }: KnownDisk): boolean =>
    sku === 'ultra' &&
    (open?.by === 'machine' || (closed?.by === 'machine' && truth.nowMs() <= closed.closedMs + lateMs));

  return {
    check(): void {
      for (const disk of truth.disks.disks.values()) {
        if (disk.set === '' || disk.isSnapshot || !world.hasCipher(disk.name) || mayHold(disk)) continue;
        const why = truth.standing(disk, 'running').map(({ reason, sinceMs }) => `${reason} since ${seconds(sinceMs)}`);
        log.violate(
          'G8',
          `the DEK of ${disk.name} is overwritten: its key is lost (${why.join(', ')})`,
          'it is in memory',
        );
        return;
      }
    },
  };
};
