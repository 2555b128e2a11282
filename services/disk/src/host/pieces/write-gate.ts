import type { ThreadGate } from '../keys/thread-gate.ts';

/** Keeps writes away while a volume is copied, so that a copy is the content of one moment. A class: one for each open disk. */
export class WriteGate {
  #writes: Set<Promise<unknown>> | undefined;
  #copying: Promise<void> | undefined;
  /** Gates of another thread that writes the same volume. */
  #threads: Set<ThreadGate> | undefined;

  attach(gate: ThreadGate): void {
    this.#threads ??= new Set();
    this.#threads.add(gate);
  }
  detach(gate: ThreadGate): void {
    this.#threads?.delete(gate);
  }

  /** Runs a write concurrently with others; waits while a copy is made. */
  async write<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#copying !== undefined) await this.#copying;
    this.#writes ??= new Set();
    const writing = work();
    const ended = writing.then(
      () => undefined,
      () => undefined,
    );
    this.#writes.add(ended);
    try {
      return await writing;
    } finally {
      this.#writes.delete(ended);
    }
  }

  /** Waits until the writes in progress have ended and runs `work` while new ones wait. One copy at a time. */
  async withoutWrites<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#copying !== undefined) await this.#copying;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#copying = promise;
    try {
      await Promise.all(this.#writes ?? []);
      const closed = [...(this.#threads ?? [])].reduce((inner, gate) => () => gate.whileClosed(inner), work);
      return await closed();
    } finally {
      this.#copying = undefined;
      resolve();
    }
  }
}
