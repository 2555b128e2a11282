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

  /** Volumes of the disks that lost machines had. */
  readonly #volumes = new Set<string>();

  constructor(parts: { readonly truth: SimulatedTruth; readonly log: Pick<HistoryLog, 'violate'> }) {
    this.#parts = parts;
  }

  /** The machine of the disk host is lost. @returns the volumes of all disks: an open that is under way may count as one before the loss */
  onMachineLost(): readonly string[] {
    const { truth } = this.#parts;
    const open = [...truth.disks.disks.values()].filter((disk) => disk.open?.by === 'machine');
    for (const { name, open: access } of open) {
      if (access) this.#lost.set(name, { attachEpoch: access.attachEpoch, atMs: truth.nowMs() });
    }
    for (const { volumeId } of truth.disks.disks.values()) this.#volumes.add(volumeId);
    return this.volumes();
  }

  /** Volumes whose open disks may fail to flush until they are reopened, also after further starts of the host. */
  volumes(): readonly string[] {
    return [...this.#volumes];
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
