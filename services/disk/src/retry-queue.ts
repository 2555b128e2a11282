import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, KeyedMutex, Logger, Random } from '@interlock/runtime';

type Work = () => Promise<void>;

/** Waits between two attempts, in milliseconds: doubling up to the longest. */
const retryMs = 100;
const retryMsMax = 10_000;

interface RetryQueueParts {
  readonly turns: KeyedMutex;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly random: Pick<Random, 'fraction'>;
  readonly log: Logger;
  /** Aborted when the service ends. */
  readonly signal: AbortSignal;
}

/** Reconciles what failed calls left unfinished, as soon as the store and the volumes are reachable again. */
export class RetryQueue {
  readonly #parts: RetryQueueParts;
  /** Work by name, one after the other. */
  readonly #left = new Map<string, Work[]>();

  constructor(parts: RetryQueueParts) {
    this.#parts = parts;
  }

  /**
   * Runs the work in the turn of the disk, snapshot or volume until it does not throw, or the service ends. A call that makes or
   * changes the resource holds its turn, so both never run at the same time.
   */
  add(name: string, work: Work): void {
    const known = this.#left.get(name);
    if (known) {
      known.push(work);
      return;
    }
    const left = [work];
    this.#left.set(name, left);
    outsideOfCalls(() => void this.#run(name, left));
  }

  /** Whether work for this name is left. */
  has(name: string): boolean {
    return this.#left.has(name);
  }

  async #run(name: string, left: Work[]): Promise<void> {
    const { turns, clock, random, log, signal } = this.#parts;
    for (let failures = 0; !signal.aborted; ) {
      const waitMs = Math.min(retryMsMax, retryMs * 2 ** failures) * (0.5 + random.fraction() / 2);
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        for (let first = left[0]; first; first = left[0]) {
          await turns(name, first);
          left.shift();
        }
        this.#left.delete(name);
        return;
      } catch (error) {
        if (failures === 0) log.warn('unfinished work failed and is tried again', { name, error });
        failures += 1;
      }
    }
  }
}
