/** Bytes that a connection always has for itself: with them it continues, whatever others hold. */
export const ownBytes = 64 * 1024;

/**
 * Memory of the requests of all connections. Each has `ownBytes` that no other can take, so it never waits for another. What it uses
 * beyond comes from a pool of the host, of which a connection may hold as much as it leaves: some is left for the next one.
 */
export class Budget {
  readonly #poolBytes: number;
  #usedBytes = 0;

  constructor(poolBytes: number) {
    this.#poolBytes = poolBytes;
  }

  /** The memory of one connection. */
  share(): Share {
    return new Share((held, wanted) => {
      const usedBytes = this.#usedBytes - held + wanted;
      if (wanted > held && wanted > this.#poolBytes - usedBytes) return false;
      this.#usedBytes = usedBytes;
      return true;
    });
  }
}

/** What one connection holds. */
export class Share {
  /** Changes how much of the pool it holds. @returns false if the pool does not have so much */
  readonly #exchange: (heldBytes: number, wantedBytes: number) => boolean;
  #usedBytes = 0;
  readonly #waiting: { readonly bytes: number; readonly admit: () => void }[] = [];

  constructor(exchange: (heldBytes: number, wantedBytes: number) => boolean) {
    this.#exchange = exchange;
  }

  /** Takes so many bytes if they are free now; they belong to the caller until `release`. */
  tryTake(bytes: number): boolean {
    return this.#waiting.length === 0 && this.#use(this.#usedBytes + bytes);
  }

  /** Resolves when the connection has released enough. Undefined: the caller has them already. @param bytes at most `ownBytes` */
  take(bytes: number): Promise<void> | undefined {
    if (this.tryTake(bytes)) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, admit: resolve });
    return promise;
  }

  release(bytes: number): void {
    this.#use(this.#usedBytes - bytes);
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#use(this.#usedBytes + next.bytes)) return;
      this.#waiting.shift();
      next.admit();
    }
  }

  #use(bytes: number): boolean {
    const [held, wanted] = [Math.max(0, this.#usedBytes - ownBytes), Math.max(0, bytes - ownBytes)];
    if (held !== wanted && !this.#exchange(held, wanted)) return false;
    this.#usedBytes = bytes;
    return true;
  }
}
