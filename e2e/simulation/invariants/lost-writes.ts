import type { DiskIo } from '@interlock/lab/judge/invariants/io';
import type { HistoryLog } from '../runs/history-log.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/**
 * Judges flushes after the machine of the disk host was lost. What an open disk wrote and did not flush may be lost then, so no
 * flush of that open may succeed (G5).
 */
export class LostWritesJudge {
  readonly #parts: { readonly truth: SimulatedTruth; readonly log: Pick<HistoryLog, 'violate'> };
  /** By disk: the newest open at the last loss, and when that was. */
  readonly #lost = new Map<string, { readonly attachEpoch: number; readonly atMs: number }>();

  /** By host: volumes of the disks that its lost machines had. */
  readonly #volumes = new Map<string, Set<string>>();

  constructor(parts: { readonly truth: SimulatedTruth; readonly log: Pick<HistoryLog, 'violate'> }) {
    this.#parts = parts;
  }

  /** The machine of a disk host is lost. */
  onMachineLost(host: string): void {
    const { truth } = this.#parts;
    const disks = [...truth.disks.disks.values()].filter((disk) => disk.host === host);
    const open = disks.filter((disk) => disk.open?.by === 'machine');
    for (const { name, open: access } of open) {
      if (access) this.#lost.set(name, { attachEpoch: access.attachEpoch, atMs: truth.nowMs() });
    }
    const lost = this.#volumes.get(host) ?? new Set();
    for (const { volumeId } of disks) lost.add(volumeId);
    this.#volumes.set(host, lost);
  }

  /**
   * Volumes whose open disks may fail to flush until they are reopened, also after further starts of the host: all that its lost
   * machines had, because an open that is under way may count as one before the loss.
   */
  volumes(host: string): readonly string[] {
    return [...(this.#volumes.get(host) ?? [])];
  }

  onIo({ kind, by, disk, outcome, attachEpoch = 0, invokedMs }: DiskIo): void {
    const lost = this.#lost.get(disk);
    if (kind !== 'flush' || by !== 'machine' || outcome.kind !== 'ok' || !lost) return;
    if (invokedMs < lost.atMs || attachEpoch > lost.attachEpoch) return;
    this.#parts.log.violate(
      'G5',
      `no flush of open ${attachEpoch} of ${disk} succeeds after the machine of its host was lost`,
      'one did',
    );
  }
}
