import type { Clock, Logger } from '@interlock/runtime';
import type { VaultEntry } from './writer.ts';

/** Different refusals counted in one window; of the others only the number is logged. */
const countedMax = 10_000;

/**
 * Counts refusals above the rate limit, because an entry for each would flood the record (G9). At the end of each window it
 * writes one entry for each vault, caller, operation and reason, with the number of refusals. A crash loses the counts of
 * its window.
 */
export class CountedRefusals {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #windowMs: number;
  readonly #write: (refusals: readonly VaultEntry[]) => Promise<void>;
  #counts = new Map<string, VaultEntry>();
  #uncounted = 0;
  #first = Promise.withResolvers<void>();

  constructor(parts: {
    readonly clock: Clock;
    readonly log: Logger;
    readonly windowMs: number;
    readonly write: (refusals: readonly VaultEntry[]) => Promise<void>;
  }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#windowMs = parts.windowMs;
    this.#write = parts.write;
  }

  /** Needs no I/O, and bounded memory. */
  add({ vault, entry }: VaultEntry): void {
    const { caller, operation, reason, occurrences = 1 } = entry;
    const name = JSON.stringify([vault, caller, operation, reason]);
    const known = this.#counts.get(name);
    if (known === undefined && this.#counts.size >= countedMax) {
      this.#uncounted += occurrences;
      return;
    }
    const before = known?.entry.occurrences ?? 0;
    this.#counts.set(name, { vault, entry: { ...(known?.entry ?? entry), occurrences: before + occurrences } });
    this.#first.resolve();
  }

  /** Writes the counts of each window until the signal is aborted, then those that are left. */
  async run(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    while (!signal.aborted) {
      await Promise.race([this.#first.promise, aborted]);
      await this.#clock.sleep(this.#windowMs, signal);
      await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const counts = this.#counts;
    this.#counts = new Map();
    this.#first = Promise.withResolvers<void>();
    if (this.#uncounted > 0) {
      this.#log.warn('refusals above the rate limit have no audit entry of their own', { uncounted: this.#uncounted });
    }
    this.#uncounted = 0;
    try {
      if (counts.size > 0) await this.#write([...counts.values()]);
    } catch (error) {
      // They are written with the next window.
      for (const refusal of counts.values()) this.add(refusal);
      throw error;
    }
  }
}
