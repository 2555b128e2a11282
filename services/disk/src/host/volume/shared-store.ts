import type { BlockStore } from '../storage/block-store.ts';

/**
 * One use of a store that several may use: its `close` ends this use and no other. A class: there is one for each open disk.
 */
export class SharedStore implements BlockStore {
  readonly #store: BlockStore;
  /** Undefined once this use has ended. */
  #giveBack: (() => Promise<void>) | undefined;

  /** @param giveBack called once, when this use ends */
  constructor(store: BlockStore, giveBack: () => Promise<void>) {
    this.#store = store;
    this.#giveBack = giveBack;
  }

  size(): number {
    return this.#store.size();
  }
  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#store.read(offset, into);
  }
  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#store.write(offset, bytes);
  }
  flush(): Promise<void> {
    return this.#store.flush();
  }
  writeDurably(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#store.writeDurably(offset, bytes);
  }
  grow(size: number): Promise<void> {
    return this.#store.grow(size);
  }
  allocatedBytes(): Promise<number> {
    return this.#store.allocatedBytes();
  }
  copyTo(target: BlockStore, check: () => void | Promise<void>): Promise<void> {
    return this.#store.copyTo(target, check);
  }

  async close(): Promise<void> {
    const giveBack = this.#giveBack;
    this.#giveBack = undefined;
    await giveBack?.();
  }
}
