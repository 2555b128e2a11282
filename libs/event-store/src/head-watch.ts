import type { Clock } from '@interlock/runtime';
import { StoreUnavailable } from './store.ts';

/**
 * Wakes followers of the feed: at once for events that this process stores, within the poll interval for those of other
 * processes. It polls only while a follower waits.
 */
export class HeadWatch {
  readonly #clock: Clock;
  readonly #readHead: () => Promise<number>;
  readonly #pollIntervalMs: number;
  readonly #waiters = new Set<() => void>();
  readonly #closing = new AbortController();
  #known = 0;
  #polling: Promise<void> | undefined;

  constructor(parts: {
    readonly clock: Clock;
    readonly readHead: () => Promise<number>;
    readonly pollIntervalMs: number;
  }) {
    this.#clock = parts.clock;
    this.#readHead = parts.readHead;
    this.#pollIntervalMs = parts.pollIntervalMs;
  }

  /** Notes that events up to a position exist. @returns whether a follower waited for one of them */
  advance(position: number): boolean {
    if (position <= this.#known) return false;
    this.#known = position;
    const hadWaiters = this.#waiters.size > 0;
    this.#wakeAll();
    return hadWaiters;
  }

  /** See `EventStore.waitForEvents`. */
  async waitFor(position: number, signal: AbortSignal): Promise<boolean> {
    const isEnded = () => signal.aborted || this.#closing.signal.aborted;
    while (this.#known <= position && !isEnded()) await this.#nextWake(signal);
    return !isEnded();
  }

  /** Ends every wait. Resolves when no poll runs. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wakeAll();
    await this.#polling;
  }

  #nextWake(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiters.add(wake);
      signal.addEventListener('abort', wake);
      this.#polling ??= this.#poll();
    });
  }

  async #poll(): Promise<void> {
    const { signal } = this.#closing;
    while (this.#waiters.size > 0 && !signal.aborted) {
      await this.#clock.sleep(this.#pollIntervalMs, signal);
      if (this.#waiters.size === 0 || signal.aborted) break;
      try {
        this.advance(await this.#readHead());
      } catch (error) {
        // Followers keep waiting; their next read reports what is wrong.
        if (!(error instanceof StoreUnavailable)) throw error;
      }
    }
    this.#polling = undefined;
  }

  #wakeAll(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
