import type { Expression } from '../expression.ts';
import { evaluateBy } from '../expressions/evaluate.ts';
import { boundsAbove } from '../expressions/operators.ts';
import type { Evidence } from '../measures/evidence.ts';

/** The limit of an expression is found to one part in 2^halvings. */
const halvings = 6;

/**
 * How much of its limit the value of an expression used: 0.9 means that a limit a tenth shorter would not have held. 1 or more: it did
 * not hold. The expression is evaluated with shorter limits, so this knows of every quantity what the verdict knows.
 * @returns undefined if it has no limit in time, or was not tested
 */
export function closenessOf(expression: Expression, evidence: Evidence): number | undefined {
  if (expression.kind !== 'compare') return undefined;
  const { left, operator, right } = expression;
  const limit = Math.abs(right.offset);
  if (limit === 0 || !(right.hasUnit || left.hasUnit)) return undefined;
  const sign = boundsAbove(operator) ? -1 : 1;
  const resultWith = (share: number) =>
    evaluateBy({ ...expression, right: { ...right, offset: right.offset + sign * share * limit } }, evidence).result;
  const first = resultWith(0);
  if (first !== 'held') return first === 'violated' ? 1 : undefined;
  let [held, broken] = [0, 1];
  if (resultWith(broken) === 'held') return 0;
  for (let n = 0; n < halvings; n += 1) {
    const middle = (held + broken) / 2;
    if (resultWith(middle) === 'held') held = middle;
    else broken = middle;
  }
  return 1 - held;
}
