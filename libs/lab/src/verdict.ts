/** Outcome of a run. `vacuous`: something was not tested; `inconclusive`: the run itself failed. */
export type Outcome = 'held' | 'violated' | 'aborted' | 'inconclusive' | 'vacuous';

/** Exit code of each outcome. 2 is bad input. */
export const exitCodes: Readonly<Record<Outcome, number>> = {
  held: 0,
  violated: 1,
  aborted: 3,
  inconclusive: 4,
  vacuous: 5,
};

/** An expectation, a proof, a control or a guarantee, and whether it held. */
export interface RuleVerdict {
  readonly kind: 'expectation' | 'guarantee' | 'proof' | 'control' | 'steady';
  /** As in the file, or the rule's name with its subject. */
  readonly text: string;
  readonly result: 'held' | 'violated' | 'vacuous';
  /** What was measured, with units. */
  readonly seen: string;
  /** The first operation or change that violated it. */
  readonly firstBreak?: string;
}

/** Quantiles in milliseconds over the machines of a group; null if nothing was measured. */
export interface Quantiles {
  readonly count: number;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/**
 * Measures of a group. Each moment counts from the loss that concerns the group; `back` from the step that gave access back;
 * `gap` is the longest time between two good operations of a disk during the timeline.
 */
export type MeasureName = 'lastGoodRead' | 'lastGoodWrite' | 'stopped' | 'startRefused' | 'back' | 'gap';

/** A group and its counts. */
interface MeasuredGroup {
  readonly group: string;
  readonly role: 'treatment' | 'control';
  readonly machines: number;
  readonly failedOperations: number;
}

/** All measured values of a group, in milliseconds. Infinity: it never occurred. */
export type GroupMeasures = MeasuredGroup & Readonly<Record<MeasureName, readonly number[]>>;

/** Quantiles of the measures of a group. */
export type GroupFigures = MeasuredGroup & Readonly<Record<MeasureName, Quantiles>>;

export interface Verdict {
  readonly outcome: Outcome;
  /** One sentence. */
  readonly because: string;
  /** Why the run itself cannot be trusted: a failed set-up, a late step, an undo that failed, a wrong t0; empty if nothing did. */
  readonly problems: readonly string[];
  readonly rules: readonly RuleVerdict[];
  readonly groups: readonly GroupFigures[];
  readonly bytesCompared: number;
  readonly bytesLost: number;
}
