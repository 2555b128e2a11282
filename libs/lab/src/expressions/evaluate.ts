import type { Experiment } from '../experiment.ts';
import type { Expression, Quantity, Term } from '../expression.ts';
import { Evidence } from '../measures/evidence.ts';
import type { RunRecord } from '../record.ts';
import { durationText } from './duration.ts';
import { compareMoments, groupMoments, type MomentSide } from './moments.ts';
import { boundsAbove, type Evaluation, holds, mirrored, type Operator, vacuous } from './operators.ts';
import { printQuantity } from './print.ts';
import { compareReasons } from './reasons.ts';
import { type Measured, measure, stateOf } from './values.ts';

/**
 * Evaluates an expression on the record of a run. The expression must have passed `checkExpression`.
 * @returns `vacuous` if the record has no data for it
 */
export const evaluate = (expression: Expression, experiment: Experiment, record: RunRecord): Evaluation =>
  evaluateBy(expression, new Evidence(experiment, record));

/** The same with prepared evidence. */
export function evaluateBy(expression: Expression, evidence: Evidence): Evaluation {
  if (expression.kind === 'holds') return stateOf(expression.quantity, evidence);
  if (expression.kind === 'reason') return compareReasons(expression.quantity.of, expression.reason, evidence);
  const { left, operator, right } = expression;
  const [leftSide, rightSide] = [momentSide(left, evidence), momentSide(right, evidence)];
  if (leftSide !== undefined) return compareMoments(leftSide, operator, right, evidence);
  if (rightSide !== undefined) return compareMoments(rightSide, mirrored[operator], left, evidence);
  return compareValues(left, operator, right, evidence);
}

/** Whether a condition is met; a vacuous abort condition is not. */
export const isMet = (
  condition: { readonly expression: Expression },
  experiment: Experiment,
  record: RunRecord,
): boolean => evaluate(condition.expression, experiment, record).result === 'held';

/** The term as the moment of a group; undefined if it is anything else. */
function momentSide({ quantity, offset }: Term, evidence: Evidence): MomentSide | undefined {
  if (quantity === undefined || !isMomentOfGroup(quantity, evidence)) return undefined;
  return { group: quantity.of, name: quantity.name as keyof typeof groupMoments, offset };
}

const isMomentOfGroup = ({ of, name }: Quantity, { experiment }: Evidence): boolean =>
  Object.hasOwn(groupMoments, name) && !experiment.timeline.some((step) => step.name === of);

/** Numbers, durations, and moments of steps and parts. */
function compareValues(left: Term, operator: Operator, right: Term, evidence: Evidence): Evaluation {
  const [one, other] = [termValue(left, evidence), termValue(right, evidence)];
  const missing = [one, other].find((side) => 'vacuous' in side);
  if (missing !== undefined && 'vacuous' in missing) return vacuous(missing.vacuous);
  if ('vacuous' in one || 'vacuous' in other) return vacuous('nothing was measured');
  // What never came is later than every limit, and shows nothing about one that it must not precede.
  const never = one.value === Number.POSITIVE_INFINITY ? operator : mirrored[operator];
  if (Math.max(one.value, other.value) === Number.POSITIVE_INFINITY && !boundsAbove(never))
    return vacuous(one.value === Number.POSITIVE_INFINITY ? one.plain : other.plain);
  const seen = [
    [left, one],
    [right, other],
  ] as const;
  const text = seen
    .flatMap(([{ quantity }, { plain }]) => (quantity === undefined ? [] : [`${printQuantity(quantity)} = ${plain}`]))
    .join(', ');
  if (holds(one.value, operator, other.value)) return { result: 'held', seen: text };
  const culprit = one.culprit?.(other.value - left.offset) ?? other.culprit?.(one.value - right.offset);
  return { result: 'violated', seen: text, ...(culprit !== undefined && { firstBreak: culprit }) };
}

const termValue = ({ quantity, offset, hasUnit }: Term, evidence: Evidence): Measured => {
  if (quantity === undefined) return { value: offset, plain: hasUnit ? durationText(offset) : String(offset) };
  const measured = measure(quantity, evidence);
  return 'vacuous' in measured ? measured : { ...measured, value: measured.value + offset };
};
