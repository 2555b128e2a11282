import type { Condition, Experiment } from '../experiment.ts';
import type { Expression, Term } from '../expression.ts';
import { evaluateBy } from '../expressions/evaluate.ts';
import { boundsAbove, mirrored } from '../expressions/operators.ts';
import { Evidence } from '../measures/evidence.ts';
import type { RunRecord } from '../record.ts';

/** An expectation while its run continues. */
export interface ExpectationState {
  /** As in the file. */
  readonly text: string;
  /**
   * `open`: not tested yet, or not met yet but may still be met. `holds`: so far. `broken`: violated, and nothing that comes later
   * changes that. After the run: `holds`, `broken`, or `open` if it was never tested.
   */
  readonly state: 'open' | 'holds' | 'broken';
  /** What was measured, with units. */
  readonly seen: string;
}

/** Events and journals are read a moment after they are stored: only so much later is a moment missing, in milliseconds. */
const readAfterMs = 1_000;

/** Values that only grow during a run. */
const growing: ReadonlySet<string> = new Set(['failed', 'mismatches', 'gap', 'bytesLost']);

/**
 * The expectations of a run that is not over. In doubt an expectation stays open: the verdict decides at the end.
 * @param seenMs when the record was read, by the clock of the run
 */
export const expectationsSoFar = (
  experiment: Experiment,
  record: RunRecord,
  seenMs: number | undefined,
): readonly ExpectationState[] => {
  const { expect } = experiment;
  if (record.run.startedMs === undefined || seenMs === undefined)
    return expect.map(({ text }) => ({ text, state: 'open', seen: '' }));
  const evidence = new Evidence(experiment, record);
  return expect.map((condition) => stateSoFar(condition, evidence, seenMs));
};

const stateSoFar = ({ text, expression }: Condition, evidence: Evidence, seenMs: number): ExpectationState => {
  const { result, seen } = evaluateBy(expression, evidence);
  if (result === 'held') return { text, state: 'holds', seen };
  const isBroken = result === 'violated' && isFinal(expression, evidence, seenMs);
  return { text, state: isBroken ? 'broken' : 'open', seen };
};

/** Whether a violated expression stays violated, whatever comes later. */
const isFinal = (expression: Expression, evidence: Evidence, seenMs: number): boolean => {
  if (expression.kind === 'reason') return false;
  if (expression.kind === 'holds') return expression.quantity.name === 'running';
  const { left, right } = expression;
  const isLeft = left.quantity !== undefined && stepOf(left, evidence) === undefined;
  const [measured, bound] = isLeft ? [left, right] : [right, left];
  const operator = isLeft ? expression.operator : mirrored[expression.operator];
  if (measured.quantity === undefined || !boundsAbove(operator)) return false;
  const { name } = measured.quantity;
  // A count below the one that it must be equal to may still reach it.
  if (growing.has(name)) return bound.quantity === undefined && (operator !== '==' || bound.offset === 0);
  const dueMs = dueMsOf(measured, bound, evidence);
  return dueMs !== undefined && seenMs > dueMs + readAfterMs;
};

/** When the measured moment must have come, by the clock of the run; undefined if that is not known yet. */
const dueMsOf = (measured: Term, bound: Term, evidence: Evidence): number | undefined => {
  const { of = '', name = '' } = measured.quantity ?? {};
  const offset = bound.offset - measured.offset;
  if (bound.quantity !== undefined) {
    const step = stepOf(bound, evidence);
    const effectMs = step === undefined ? undefined : evidence.effectMs(step);
    return effectMs === undefined ? undefined : effectMs + offset;
  }
  if (!evidence.groups.includes(of)) return undefined;
  const last = evidence.episodesOf(of).at(-1);
  return last === undefined ? undefined : (name === 'back' ? last.endMs : last.startMs) + offset;
};

const stepOf = ({ quantity }: Term, { experiment }: Evidence) =>
  experiment.timeline.find(({ name }) => name === quantity?.of);
