import type { Expression } from '../expression.ts';

/** Result of an evaluation, and what was measured. */
export interface Evaluation {
  readonly result: 'held' | 'violated' | 'vacuous';
  readonly seen: string;
  /** The first operation or change that violated it, if there is one. */
  readonly firstBreak?: string;
}

export type Operator = Extract<Expression, { kind: 'compare' }>['operator'];

export const vacuous = (seen: string): Evaluation => ({ result: 'vacuous', seen });

export function holds(left: number, operator: Operator, right: number): boolean {
  switch (operator) {
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '>=':
      return left >= right;
    case '>':
      return left > right;
  }
}

/** Whether the operator bounds its left side from above: a moment that never occurs violates it. */
export const boundsAbove = (operator: Operator): boolean => operator === '<' || operator === '<=' || operator === '==';

/** `840 ms`, `4.21 s`. */
export const spanText = (ms: number): string =>
  Math.abs(ms) < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`;

/** `4.21 s after loss`, `120 ms before loss`. */
export const relativeText = (ms: number, to: string): string =>
  ms < 0 ? `${spanText(-ms)} before ${to}` : `${spanText(ms)} after ${to}`;

/** The operator with its sides exchanged. */
export const mirrored: Readonly<Record<Operator, Operator>> = {
  '<': '>',
  '<=': '>=',
  '==': '==',
  '!=': '!=',
  '>=': '<=',
  '>': '<',
};
