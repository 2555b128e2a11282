import type { Outcome } from './calls.ts';
import type { Cell } from './cells.ts';

/** Outcomes of a served request: done, or refused for its content and not for its caller. */
const dealtWith: ReadonlySet<string> = new Set([
  'OK',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
]);

/** How an outcome differs from the cell; undefined if it does not. */
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
