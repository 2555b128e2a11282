import type { Clock, Logger } from '@interlock/runtime';
import type { AuditEntry } from './entry.ts';

/** A refusal above the rate limit, with the vault on whose record it belongs if there is one of that name. */
export interface CountedRefusal {
  readonly vault: string;
  readonly entry: AuditEntry;
}

/**
 * Refusals above the rate limit: counted, because an entry for each would make the flood a flood of the record (G9). In
 * each window there is one entry for each vault, caller, operation and reason, with the number of refusals it stands
 * for; it is written at the end of the window. A crash loses the counts of the window it falls in.
 */
export interface CountedRefusals {
  /** Costs neither I/O nor more memory than a bounded number of counts. */
  add(refusal: CountedRefusal): void;
  /** Writes the counts of each window until the signal is aborted, then those that are left. */
  run(signal: AbortSignal): Promise<void>;
}

/** Different refusals counted in one window; of what is beyond only the number is logged. */
const countedMax = 10_000;

/** Opens the counts. @param write puts entries on record; those of vaults that do not exist are left out */
export const countedRefusals = (parts: {
  readonly clock: Clock;
  readonly log: Logger;
  /** Length of a window. */
  readonly windowMs: number;
  readonly write: (refusals: readonly CountedRefusal[]) => Promise<void>;
}): CountedRefusals => {
  const { clock, log, windowMs, write } = parts;
  let counts = new Map<string, CountedRefusal>();
  let uncounted = 0;
  let first = Promise.withResolvers<void>();

  const flush = async (): Promise<void> => {
    const written = counts;
    counts = new Map();
    first = Promise.withResolvers<void>();
    if (uncounted > 0) log.warn('refusals above the rate limit were not put on record one by one', { uncounted });
    uncounted = 0;
    try {
      if (written.size > 0) await write([...written.values()]);
    } catch (error) {
      // What could not be written is told with the next window.
      for (const refusal of written.values()) add(refusal);
      throw error;
    }
  };

  const add = ({ vault, entry }: CountedRefusal): void => {
    const { caller, operation, reason, occurrences = 1 } = entry;
    const name = JSON.stringify([vault, caller, operation, reason]);
    const known = counts.get(name);
    if (known === undefined && counts.size >= countedMax) {
      uncounted += occurrences;
      return;
    }
    const { occurrences: before = 0 } = known?.entry ?? { occurrences: 0 };
    counts.set(name, { vault, entry: { ...(known?.entry ?? entry), occurrences: before + occurrences } });
    first.resolve();
  };

  return {
    add,
    async run(signal) {
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) return resolve();
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      while (!signal.aborted) {
        await Promise.race([first.promise, aborted]);
        await clock.sleep(windowMs, signal);
        await flush();
      }
    },
  };
};
