import type { Outcome } from './calls.ts';
import type { Cell } from './cells.ts';

/** How a request that is dealt with can end: done, or refused for what it says and not for who says it. */
const dealtWith: ReadonlySet<string> = new Set([
  'OK',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
]);

/** What is wrong with an outcome, in words; undefined when it is as the cell says. */
export const wrongWith = ({ expected }: Cell, outcome: Outcome): string | undefined => {
  const { code, reason, message, metadata } = outcome;
  const got = `${code} ${reason} (${message}) ${JSON.stringify(metadata)}`;
  if (expected === 'served') return dealtWith.has(code) ? undefined : `expected to be served, got ${got}`;
  const isAsSaid =
    code === expected.code &&
    reason === expected.reason &&
    Object.entries(expected.metadata ?? {}).every(([name, value]) => metadata[name] === value);
  return isAsSaid ? undefined : `expected ${JSON.stringify(expected)}, got ${got}`;
};
