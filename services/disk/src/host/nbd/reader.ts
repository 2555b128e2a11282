import type { Duplex } from 'node:stream';

/**
 * Most bytes that are taken from a stream at once. To give more, a stream would raise the number of bytes that it holds for this
 * connection, up to the length of the longest request and for good.
 */
const takeMax = 64 * 1024;

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

  /** @returns `length` bytes that have arrived; undefined if fewer have, or for more than 64 KiB */
  takeNow(length: number): Buffer | undefined {
    if (length === 0 || length > takeMax || this.#stream.readableLength < length) return undefined;
    const bytes: Buffer | null = this.#stream.read(length);
    return bytes ?? undefined;
  }

  /** @param length at most 64 KiB @returns so many bytes; undefined if the connection ended before */
  async take(length: number): Promise<Buffer | undefined> {
    if (length > takeMax) throw new RangeError(`at most ${takeMax} bytes are taken at once (got ${length})`);
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const bytes: Buffer | null = this.#stream.read(length);
      // At its end a stream returns what is left, however little.
      if (bytes !== null) return bytes.length === length ? bytes : undefined;
      if (!(await this.#changed())) return undefined;
    }
  }

  /** Waits until at least a byte has arrived. @returns false if the connection ended before */
  async arriving(): Promise<boolean> {
    for (;;) {
      // A destroyed stream keeps what had arrived, and never gives it.
      if (this.#stream.destroyed) return false;
      if (this.#stream.readableLength > 0) return true;
      // Without a read that finds nothing, a stream does not say when something arrives.
      this.#stream.read(0);
      if (this.#stream.readableLength === 0 && !(await this.#changed())) return false;
    }
  }

  /** Passes on so many bytes, in parts as they arrive. @returns false if the connection ended before */
  async pass(length: number, take: (part: Buffer, at: number) => void): Promise<boolean> {
    for (let at = 0; at < length; ) {
      if (!(await this.arriving())) return false;
      const part = this.takeNow(Math.min(length - at, this.#stream.readableLength, takeMax));
      if (part === undefined) return false;
      take(part, at);
      at += part.length;
    }
    return true;
  }

  /** Leaves the stream to another reader, as TLS needs it. */
  release(): void {
    for (const [event, listener] of this.#listeners) this.#stream.off(event, listener);
  }

  /** Waits until bytes arrive. @returns false if the connection is over */
  async #changed(): Promise<boolean> {
    if (this.#isOver || this.#stream.destroyed || this.#stream.readableEnded) return false;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    return true;
  }
}
