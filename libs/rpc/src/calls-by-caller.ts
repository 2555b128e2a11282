import { Rejection } from '@interlock/event-store';
import type { Caller } from './call.ts';

/**
 * Most concurrent calls of one principal, response streams included. A CLI or portal has a few; this many are a defect or an
 * attack. Services have no such limit, because they call for all users.
 */
export const CALLS_OF_CALLER_MAX = 512;

/** Counts the running calls of each principal at one server. */
export interface CallsByCaller {
  /**
   * Counts a call until the returned function is called.
   * @throws Rejection RESOURCE_EXHAUSTED TOO_MANY_CALLS
   */
  enter(caller: Caller): () => void;
}

/** Starts with no calls. */
export const callsByCaller = (max = CALLS_OF_CALLER_MAX): CallsByCaller => {
  const counts = new Map<string, number>();
  const leave = (name: string): void => {
    const left = (counts.get(name) ?? 0) - 1;
    if (left > 0) counts.set(name, left);
    else counts.delete(name);
  };
  return {
    enter({ kind, name }) {
      if (kind === 'anonymous' || kind === 'workload') return uncounted;
      const count = counts.get(name) ?? 0;
      if (count >= max) throw tooMany(`calls of ${name}`, max);
      counts.set(name, count + 1);
      return () => leave(name);
    },
  };
};

const uncounted = (): void => undefined;

/** The refusal of a call above the limit. */
export const tooMany = (what: string, max: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_CALLS',
    `at most ${max} ${what} may be under way at a time: wait for one to end, then repeat`,
    { max: String(max), retryAfterMs: '1000' },
  );
