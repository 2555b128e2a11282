import type { RunRecord } from '../record.ts';

/** Parts of a run, in their order. */
export const runPhases = ['set-up', 'steady state', 'timeline', 'undo', 'content', 'judgement', 'ended'] as const;
export type RunPhase = (typeof runPhases)[number];

/** How far a run is. */
export interface RunProgress {
  readonly phase: RunPhase;
  /** What is recorded up to now. */
  readonly record: RunRecord;
  /** When the observations of the record were read, by the clock of the run; undefined before the first. */
  readonly seenMs: number | undefined;
}
