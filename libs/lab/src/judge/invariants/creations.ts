import type { RecordedEvent } from '@interlock/event-store';
import { type Findings, seconds } from '../findings.ts';
import { type DiskTruth, nameIn } from '../model/disks.ts';
import type { Truth } from '../model/truth.ts';

export interface CreationJudgeParts {
  readonly log: Findings;
  readonly truth: Pick<Truth, 'nowMs' | 'blockers' | 'boundAfter'> & { readonly disks: Pick<DiskTruth, 'disks'> };
}

/**
 * G1 for new disks and snapshots: none is made under a key that was lost, once the bound of the loss is over (CMK-105). A creation that
 * was accepted before the bound may end after it.
 */
export class CreationJudge {
  readonly #parts: CreationJudgeParts;
  /** When each creation was accepted, by stream. */
  readonly #acceptedMs = new Map<string, number>();

  constructor(parts: CreationJudgeParts) {
    this.#parts = parts;
  }

  /** Applies every event, after the truth has applied it. */
  onEvent({ stream, type }: RecordedEvent): void {
    const { truth, log } = this.#parts;
    if (type === 'DiskCreating' || type === 'SnapshotCreating') this.#acceptedMs.set(stream, truth.nowMs());
    if (type !== 'DiskCreated' && type !== 'SnapshotCreated') return;
    const made = truth.disks.disks.get(nameIn(stream));
    const acceptedMs = this.#acceptedMs.get(stream);
    if (made === undefined || acceptedMs === undefined) return;
    const lost = truth.blockers(made, 'opening').find((blocker) => acceptedMs > truth.boundAfter(blocker));
    if (lost === undefined) return;
    log.violate(
      'G1',
      `nothing is made under ${made.keyVersion} of ${made.set} after ${seconds(truth.boundAfter(lost))}: ${lost.reason} since ${seconds(lost.sinceMs)}`,
      `${made.name} was accepted at ${seconds(acceptedMs)}`,
    );
  }
}
