import { Rejection } from '@interlock/event-store';
import type { Caller } from './call.ts';

/**
 * Calls of one principal that may be under way at a time, streams of answers included. A CLI or portal has a few; one that has
 * this many has lost count, or means harm. Services are not held to it: they call for everyone.
 */
export const CALLS_OF_CALLER_MAX = 512;

/** Counts the calls under way of each principal of one server. */
export interface CallsByCaller {
  /**
   * Counts a call until what it returns is called.
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

/** The refusal of one call more than there may be at a time. */
export const tooMany = (what: string, max: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_CALLS',
    `at most ${max} ${what} may be under way at a time: wait for one to end, then repeat`,
    { max: String(max), retryAfterMs: '1000' },
  );
