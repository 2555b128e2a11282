import { type BlockStore, storeClosed } from './storage/block-store.ts';
import { Flushes } from './storage/flushes.ts';

/** A store that only its owner uses. */
export interface HeldStore {
  readonly store: BlockStore;
  /** Lets go of the file: another host may take it. It is opened again by the next use that is allowed. */
  letGo(): Promise<void>;
}

/**
 * Asks before each operation whether this host still owns the volume, and again when it is done: what was answered after
 * that belongs to another.
 * @param reopen opens the store again after `letGo`
 * @param check throws where this host is not the owner
 * @param among where it is as long as it is not closed
 */
export const holdStore = (
  first: BlockStore,
  reopen: () => Promise<BlockStore>,
  check: () => void,
  among?: Set<HeldStore>,
): HeldStore => {
  const held = new OwnedStore(first, reopen, check, among);
  among?.add(held);
  return held;
};

/** A class: there is one for each open disk (see `FileBlockStore`). */
class OwnedStore implements HeldStore, BlockStore {
  readonly #reopen: () => Promise<BlockStore>;
  readonly #check: () => void;
  readonly #among: Set<HeldStore> | undefined;
  #current: BlockStore | undefined;
  #reopening: Promise<BlockStore> | undefined;
  /** The close of the last `letGo`: operations in progress end first; until then the file cannot be opened. */
  #leaving: Promise<unknown> | undefined;
  #size: number;
  #isClosed = false;
  /** Beyond the file: once that is opened again it says nothing of what was lost before. Undefined before the first flush. */
  #flushes: Flushes | undefined;

  constructor(
    first: BlockStore,
    reopen: () => Promise<BlockStore>,
    check: () => void,
    among: Set<HeldStore> | undefined,
  ) {
    this.#current = first;
    this.#size = first.size();
    this.#reopen = reopen;
    this.#check = check;
    this.#among = among;
  }

  get store(): BlockStore {
    return this;
  }

  size(): number {
    return this.#current?.size() ?? this.#size;
  }
  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#owned((store) => store.read(offset, into));
  }
  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#owned((store) => store.write(offset, bytes));
  }
  flush(): Promise<void> {
    this.#flushes ??= new Flushes();
    const flushes = this.#flushes;
    return flushes.inTurn(() => this.#owned((store) => flushes.witness(() => store.flush())));
  }
  writeDurably(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#owned((store) => store.writeDurably(offset, bytes));
  }
  grow(size: number): Promise<void> {
    return this.#owned((store) => store.grow(size));
  }
  allocatedBytes(): Promise<number> {
    return this.#owned((store) => store.allocatedBytes());
  }
  copyTo(target: BlockStore, check: () => void | Promise<void>): Promise<void> {
    return this.#owned((store) => store.copyTo(target, check));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#among?.delete(this);
    // The next open of the volume must not find the file open.
    await this.#reopening?.catch(() => undefined);
    await Promise.all([this.#current?.close(), this.#leaving]);
  }

  async letGo(): Promise<void> {
    const held = this.#current;
    if (!held) return;
    this.#size = held.size();
    this.#current = undefined;
    const closed = held.close();
    // A reopen waits only for the end; a failure is reported by `letGo`.
    this.#leaving = closed.catch(() => undefined);
    await closed;
  }

  async #owned<Result>(work: (store: BlockStore) => Promise<Result>): Promise<Result> {
    for (;;) {
      const held = await this.#use();
      try {
        const result = await work(held);
        this.#check();
        return result;
      } catch (error) {
        this.#check();
        // Let go of while it worked, and held again by now: the file is opened again, and what was not answered is repeated.
        if (held === this.#current || this.#isClosed) throw error;
      }
    }
  }

  async #use(): Promise<BlockStore> {
    this.#check();
    if (this.#isClosed) throw storeClosed();
    if (this.#current) return this.#current;
    this.#reopening ??= this.#openAgain();
    const opened = await this.#reopening;
    try {
      this.#check();
    } catch (error) {
      // The lease ended during the open: another host must be able to open the file.
      await this.letGo();
      throw error;
    }
    return opened;
  }

  /** Sets the opened store before it ends, so that no second open starts. */
  async #openAgain(): Promise<BlockStore> {
    try {
      await this.#leaving;
      const opened = await this.#reopen();
      if (!this.#isClosed) {
        this.#current = opened;
        return opened;
      }
      await opened.close();
      throw storeClosed();
    } catch (error) {
      // Closed meanwhile: another use may have the volume open by now.
      throw this.#isClosed ? storeClosed() : error;
    } finally {
      this.#reopening = undefined;
    }
  }
}
