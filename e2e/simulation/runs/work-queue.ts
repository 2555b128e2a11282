import type { VirtualClock } from '@interlock/runtime';

/** The actions of a history that are in progress, and those planned for later. */
export class WorkQueue {
  readonly #clock: Pick<VirtualClock, 'alarm'>;
  readonly #running = new Set<Promise<unknown>>();
  readonly #planned = new Set<() => void>();
  readonly #mistakes: unknown[] = [];
  #isEnding = false;

  constructor(clock: Pick<VirtualClock, 'alarm'>) {
    this.#clock = clock;
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Starts an action. An action handles every outcome of a service, so its error is a mistake of the simulation. */
  begin(act: () => Promise<unknown>): void {
    const done: Promise<unknown> = act().then(
      () => this.#running.delete(done),
      (error: unknown) => {
        this.#running.delete(done);
        this.#mistakes.push(error);
      },
    );
    this.#running.add(done);
  }

  /** Starts an action after a time, or when the history ends. */
  later(delayMs: number, act: () => Promise<unknown>): void {
    const start = (): void => {
      if (this.#planned.delete(start)) this.begin(act);
      alarm.cancel();
    };
    const alarm = this.#clock.alarm(delayMs, start);
    this.#planned.add(start);
  }

  /** Starts planned actions and waits for all. @throws the first mistake of an action */
  async end(): Promise<void> {
    this.#isEnding = true;
    while (this.#planned.size + this.#running.size > 0) {
      for (const start of [...this.#planned]) start();
      await Promise.all(this.#running);
    }
    if (this.#mistakes.length > 0) throw this.#mistakes[0];
  }
}
