/** Keeps writers away while a volume is copied: a copy is what the disk held at one moment. */
export interface WriteGate {
  /** Runs a write beside others; waits while a copy is made. */
  write<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Waits until the writes under way are done and runs `work` while new ones wait. Copies take turns. */
  still<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** A gate nobody has passed yet. */
export const createWriteGate = (): WriteGate => new OpenGate();

/** A class: there is one for each open disk, and most of them have nothing under way (see `FileBlockStore`). */
class OpenGate implements WriteGate {
  #writes: Set<Promise<unknown>> | undefined;
  #stillness: Promise<void> | undefined;

  async write<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#stillness !== undefined) await this.#stillness;
    this.#writes ??= new Set();
    const writes = this.#writes;
    const writing = work();
    const ended = writing.then(
      () => undefined,
      () => undefined,
    );
    writes.add(ended);
    try {
      return await writing;
    } finally {
      writes.delete(ended);
    }
  }

  async still<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#stillness !== undefined) await this.#stillness;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stillness = promise;
    try {
      await Promise.all(this.#writes ?? []);
      return await work();
    } finally {
      this.#stillness = undefined;
      resolve();
    }
  }
}
