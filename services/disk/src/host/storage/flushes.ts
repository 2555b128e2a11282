import { Rejection } from '@interlock/event-store';

/**
 * The flushes of one store. After a failed flush, every flush fails until the disk is reopened: storage reports lost writes
 * only once, and the next flush succeeds although the data is gone (Linux drops a page that it could not write). One flush runs
 * at a time and serves every caller that called before it started.
 */
export class Flushes {
  #underWay: Promise<void> | undefined;
  /** The next flush, not started yet, for all callers meanwhile. */
  #next: Promise<void> | undefined;
  #failure: { readonly cause: unknown } | undefined;

  /** Flushes after the flush in progress, together with all callers until then. */
  inTurn(flush: () => Promise<void>): Promise<void> {
    if (!this.#underWay && !this.#next) return this.#begin(flush);
    this.#next ??= this.#behind(flush);
    return this.#next;
  }

  /**
   * Flushes the storage, and stores its failure. A flush that failed because the store was closed has lost nothing.
   * @throws whatever `flush` throws; Rejection DATA_LOSS FLUSH_FAILED after a failed flush
   */
  async witness(flush: () => Promise<void>): Promise<void> {
    if (this.#failure) throw flushFailed(this.#failure.cause);
    try {
      await flush();
    } catch (cause) {
      const isClosed = cause instanceof Rejection && cause.reason === 'STORE_CLOSED';
      if (!isClosed) this.#failure = { cause };
      throw cause;
    }
  }

  async #behind(flush: () => Promise<void>): Promise<void> {
    // Its callers receive its failure.
    await this.#underWay?.catch(() => undefined);
    this.#next = undefined;
    await this.#begin(flush);
  }

  #begin(flush: () => Promise<void>): Promise<void> {
    this.#underWay = flush().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }
}

/** A flush of an open disk that may have lost writes. @param cause why */
export const flushFailed = (cause: unknown): Rejection =>
  new Rejection(
    'DATA_LOSS',
    'FLUSH_FAILED',
    'the disk host could not keep all that was written to this disk: what was written since the last flush that succeeded may be gone; open the disk again and look at it',
    {},
    { cause },
  );
