import type { Expression, Quantity, Term } from '../expression.ts';
import { durationText } from './duration.ts';

/** The text of an expression, which `parseExpression` reads back to the same expression. */
export const printExpression = (expression: Expression): string => {
  if (expression.kind === 'holds') return printQuantity(expression.quantity);
  if (expression.kind === 'reason') return `${printQuantity(expression.quantity)} == ${expression.reason}`;
  return `${printTerm(expression.left)} ${expression.operator} ${printTerm(expression.right)}`;
};

/** `premium.stopped`, `bytesLost`, or the bare name of a step. */
export const printQuantity = ({ of, name }: Quantity): string => {
  if (of === '') return name;
  return name === 'effect' ? of : `${of}.${name}`;
};

/** `loss + 3s`, `5s`, `premium.failed`. */
export function printTerm({ quantity, offset, hasUnit }: Term): string {
  const size = hasUnit ? durationText(Math.abs(offset)) : String(Math.abs(offset));
  if (quantity === undefined) return offset < 0 ? `-${size}` : size;
  const text = printQuantity(quantity);
  if (offset === 0 && !hasUnit) return text;
  return `${text} ${offset < 0 ? '-' : '+'} ${size}`;
}
