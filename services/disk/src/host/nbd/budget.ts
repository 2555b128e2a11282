/** Memory that requests of all NBD connections hold until the reply, limited for the whole host. First come, first served. */
export class Budget {
  readonly #totalBytes: number;
  #usedBytes = 0;
  readonly #waiting: { readonly bytes: number; readonly admit: () => void }[] = [];

  /** @param totalBytes at least the largest request */
  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** Resolves when so many bytes are free; they belong to the caller until `release`. Undefined: the caller has them already. */
  take(bytes: number): Promise<void> | undefined {
    if (this.tryTake(bytes)) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, admit: resolve });
    return promise;
  }

  /** Takes so many bytes if they are free now. */
  tryTake(bytes: number): boolean {
    if (this.#waiting.length > 0 || this.#usedBytes + bytes > this.#totalBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#usedBytes + next.bytes > this.#totalBytes) return;
      this.#waiting.shift();
      this.#usedBytes += next.bytes;
      next.admit();
    }
  }
}
