import type { Clock } from '@interlock/runtime';

/** Time between two questions, in milliseconds. It doubles with each question, and begins again after a long time without any. */
const betweenMs = { min: 1_000, max: 10_000 };
/** Longest time of one question, in milliseconds. */
const askMs = 2_000;

/**
 * Asks one `host:port` of the disk service for the host of a disk.
 * @param deadline of the question, by the wall clock, in milliseconds
 * @returns `host:port` of the data of the disk; undefined if the service does not say. Never rejects
 */
export type Ask = (address: string, deadline: number) => Promise<string | undefined>;

/**
 * Where a disk is whose host does not answer. It may have moved while nothing was read or written, and the host that would say so may
 * be gone. Then the disk service says it. It is asked seldom: every guest of a host that is gone asks.
 */
export class Whereabouts {
  readonly #ask: Ask;
  readonly #addresses: readonly string[];
  readonly #clock: Pick<Clock, 'now'>;
  #questions = 0;
  #lastAt = 0;
  #waitMs = 0;

  /** @param addresses of the disk service, asked in turn; none: nothing is asked */
  constructor(ask: Ask, addresses: readonly string[], clock: Pick<Clock, 'now'>) {
    this.#ask = ask;
    this.#addresses = addresses;
    this.#clock = clock;
  }

  /** Call it while an operation waits. @returns `host:port` of the host of the disk, if it was time to ask and the service said it */
  async look(): Promise<string | undefined> {
    const now = this.#clock.now();
    // A wall clock that was set back does not delay the next question for longer.
    const sinceMs = Math.abs(now - this.#lastAt);
    const address = this.#addresses[this.#questions % this.#addresses.length];
    if (address === undefined || sinceMs < this.#waitMs) return undefined;
    this.#waitMs = sinceMs > 2 * betweenMs.max ? betweenMs.min : Math.min(2 * this.#waitMs, betweenMs.max);
    this.#lastAt = now;
    this.#questions += 1;
    return this.#ask(address, now + askMs);
  }
}
