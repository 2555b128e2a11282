import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Turns } from '../disk/turns.ts';

/** Settles what a call that is over left unfinished, as soon as the store and the volumes can be reached again. */
export interface Settling {
  /**
   * Does it in the turn of the disk or snapshot, again and again until it does not throw or the service ends. What it settles
   * is never under way then: whoever makes or changes something has its turn.
   */
  later(name: string, settle: () => Promise<void>): void;
  /** Whether something of it is left to settle. */
  has(name: string): boolean;
}

/** Waits between two tries, in milliseconds: doubling up to the longest. */
const settleMs = 100;
const settleMsMax = 10_000;

/** Nothing is left unfinished yet. */
export const openSettling = (parts: {
  readonly turns: Turns;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Pick<Random, 'fraction'>;
  readonly log: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
}): Settling => {
  const { turns, clock, random, log, signal } = parts;
  /** What is left to do, by name: one thing after the other, however many calls failed meanwhile. */
  const left = new Map<string, (() => Promise<void>)[]>();

  const settleAll = async (name: string, work: (() => Promise<void>)[]): Promise<void> => {
    for (let failures = 0; !signal.aborted; ) {
      const waitMs = Math.min(settleMsMax, settleMs * 2 ** failures) * (0.5 + random.fraction() / 2);
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        for (let first = work[0]; first; first = work[0]) {
          await turns(name, first);
          work.shift();
        }
        left.delete(name);
        return;
      } catch (error) {
        if (failures === 0) log.warn('what was left unfinished is tried again', { name, error });
        failures += 1;
      }
    }
  };

  return {
    later(name, settle) {
      const known = left.get(name);
      if (known) {
        known.push(settle);
        return;
      }
      const work = [settle];
      left.set(name, work);
      outsideOfCalls(() => void settleAll(name, work));
    },
    has: (name) => left.has(name),
  };
};
