import type { Duplex } from 'node:stream';

/** Takes bytes from a connection on demand. The stream stops receiving while nothing is taken. */
export class Reader {
  readonly #stream: Duplex;
  readonly #listeners: readonly (readonly [event: string, listener: () => void])[];
  #wake: (() => void) | undefined;
  #isOver = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    const wake = (): void => this.#wake?.();
    const end = (): void => {
      this.#isOver = true;
      wake();
    };
    this.#listeners = [
      ['readable', wake],
      ['end', end],
      ['close', end],
      ['error', end],
    ];
    for (const [event, listener] of this.#listeners) stream.on(event, listener);
  }

  /** @returns `length` bytes that have arrived; undefined if fewer have */
  takeNow(length: number): Buffer | undefined {
    if (length === 0 || this.#stream.readableLength < length) return undefined;
    const bytes: Buffer | null = this.#stream.read(length);
    return bytes ?? undefined;
  }

  /** @returns `length` bytes; undefined if the connection ended before */
  async take(length: number): Promise<Buffer | undefined> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const bytes: Buffer | null = this.#stream.read(length);
      // At its end a stream returns what is left, however little.
      if (bytes !== null) return bytes.length === length ? bytes : undefined;
      if (this.#isOver || this.#stream.destroyed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** Leaves the stream to another reader, as TLS needs it. */
  release(): void {
    for (const [event, listener] of this.#listeners) this.#stream.off(event, listener);
  }
}
