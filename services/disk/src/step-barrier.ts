import type { Clock } from '@interlock/runtime';

/** Longest wait of one member at a step, in ms: several times what reading the headers of all members takes. */
const patienceMs = 50;

/** Waits until the other members have reached this step. */
export type Step = () => Promise<void>;

/**
 * Keeps members of a batch in step: the calls they make after a step are made in one turn of the event loop, so they share one
 * message and one commit. Separate messages, commits and facts for each few members cost more than their content.
 */
export class StepBarrier {
  readonly #clock: Pick<Clock, 'alarm'>;
  readonly #waiting: (() => void)[] = [];
  #membersCount = 0;
  #patience: { cancel(): void } | undefined;

  constructor(clock: Pick<Clock, 'alarm'>) {
    this.#clock = clock;
  }

  /** Runs the work of one member. Until it ends the others wait for it at their steps, for at most `patienceMs`. */
  async member<Result>(work: (step: Step) => Promise<Result>): Promise<Result> {
    this.#membersCount += 1;
    try {
      return await work(() => this.#step());
    } finally {
      this.#membersCount -= 1;
      this.#continueIfComplete();
    }
  }

  #step(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#patience ??= this.#clock.alarm(patienceMs, () => this.#continue());
      // A microtask later: members that start in the same turn join one after the other.
      queueMicrotask(() => this.#continueIfComplete());
    });
  }

  #continueIfComplete(): void {
    if (this.#waiting.length > 0 && this.#waiting.length >= this.#membersCount) this.#continue();
  }

  #continue(): void {
    this.#patience?.cancel();
    this.#patience = undefined;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
