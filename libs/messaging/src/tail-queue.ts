import type { Tailed } from './bus.ts';

/** Messages that may wait for their reader, and their bytes. */
const WAITING_MAX = 1_024;
const WAITING_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Messages of a tail that wait for their reader. Beyond the limit a new message is dropped: the reader sees it in the positions of the
 * next one, as it sees a message that was lost on the way.
 */
export class TailQueue implements AsyncIterable<Tailed> {
  readonly #signal: AbortSignal;
  #waiting: Tailed[] = [];
  #bytes = 0;
  #isEnded = false;
  #wake: () => void = () => undefined;

  /** @param signal ends the messages */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.end());
    if (signal.aborted) this.end();
  }

  push(message: Tailed): void {
    const bytes = this.#bytes + message.bytes.byteLength;
    const isFull = this.#waiting.length >= WAITING_MAX || bytes > WAITING_BYTES_MAX;
    if (isFull || this.#isEnded) return;
    this.#waiting.push(message);
    this.#bytes = bytes;
    this.#wake();
  }

  /** Ends the messages; those that wait are dropped. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Tailed, void> {
    while (!this.#isEnded && !this.#signal.aborted) {
      const taken = this.#waiting;
      this.#waiting = [];
      this.#bytes = 0;
      for (const message of taken) {
        if (this.#isEnded) return;
        yield message;
      }
      if (taken.length > 0) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (this.#waiting.length > 0 || this.#isEnded) resolve();
      });
    }
  }
}
