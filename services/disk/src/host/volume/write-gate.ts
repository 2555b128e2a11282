/** Keeps writes away while a volume is copied, so that a copy is the content of one moment. A class: one for each open disk. */
export class WriteGate {
  #writes: Set<Promise<unknown>> | undefined;
  #copying: Promise<void> | undefined;

  /** Runs a write beside others; waits while a copy is made. */
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
      return await work();
    } finally {
      this.#copying = undefined;
      resolve();
    }
  }
}
