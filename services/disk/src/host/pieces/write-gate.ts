import type { ThreadGate } from '../keys/thread-gate.ts';

/** A range of a volume that is written, in bytes. */
export interface WrittenRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Keeps writes away while a volume is copied, so that a copy is the content of one moment, and reports them to who copies it meanwhile.
 * A class: one for each open disk.
 */
export class WriteGate {
  #writes: Set<Promise<unknown>> | undefined;
  #copying: Promise<void> | undefined;
  /** Gates of another thread that writes the same volume. */
  #threads: Map<ThreadGate, (() => void) | undefined> | undefined;
  /** Receives each range when its write has ended. */
  #follower: ((range: WrittenRange) => void) | undefined;

  attach(gate: ThreadGate): void {
    this.#threads ??= new Map();
    this.#threads.set(gate, this.#follower === undefined ? undefined : gate.hold());
  }
  detach(gate: ThreadGate): void {
    this.#threads?.get(gate)?.();
    this.#threads?.delete(gate);
  }

  /**
   * Calls `follower` with each range when its write has ended, also if it failed, and before `withoutWrites` begins. A mark before the
   * write would be too early: a piece could be read between both. Another thread passes its writes to this one meanwhile. One follower
   * at a time.
   * @returns ends that
   */
  async follow(follower: (range: WrittenRange) => void): Promise<() => void> {
    if (this.#follower !== undefined) throw new Error('the writes to this volume are followed already');
    this.#follower = follower;
    const gates = [...(this.#threads?.keys() ?? [])];
    for (const gate of gates) this.#threads?.set(gate, gate.hold());
    await Promise.all(gates.map((gate) => gate.idle()));
    return () => {
      this.#follower = undefined;
      for (const [gate, release] of this.#threads ?? []) {
        release?.();
        this.#threads?.set(gate, undefined);
      }
    };
  }

  /** Runs a write of a range concurrently with others; waits while a copy is made. */
  async write<Result>(range: WrittenRange, work: () => Promise<Result>): Promise<Result> {
    while (this.#copying !== undefined) await this.#copying;
    this.#writes ??= new Set();
    const writing = work().finally(() => this.#follower?.(range));
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

  /** Whether a copy is made now, for which writes wait. */
  get isCopying(): boolean {
    return this.#copying !== undefined;
  }

  /** Resolves when no copy is made; one may begin before the caller continues. */
  async copied(): Promise<void> {
    while (this.#copying !== undefined) await this.#copying;
  }

  /** Waits until the writes in progress have ended and runs `work` while new ones wait. One copy at a time. */
  async withoutWrites<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#copying !== undefined) await this.#copying;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#copying = promise;
    try {
      await Promise.all(this.#writes ?? []);
      const closed = [...(this.#threads?.keys() ?? [])].reduce((inner, gate) => () => gate.whileClosed(inner), work);
      return await closed();
    } finally {
      this.#copying = undefined;
      resolve();
    }
  }
}
