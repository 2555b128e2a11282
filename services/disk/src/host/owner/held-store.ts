import { type BlockStore, storeClosed } from '../storage/block-store.ts';
import { Flushes } from '../storage/flushes.ts';

/** A store that only its owner uses. */
export interface HeldStore {
  readonly store: BlockStore;
  /** Releases the file, so that another host can open it. The next allowed use reopens it. */
  letGo(): Promise<void>;
}

/**
 * Checks before and after each operation whether this host owns the volume: a later result may belong to another owner.
 * @param reopen opens the store again after `letGo`
 * @param check throws if this host is not the owner
 * @param among contains the store until it is closed
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
  /** Outlives the file: a reopened file does not report writes that were lost before. Undefined before the first flush. */
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
  readOnce(offset: number, into: Uint8Array): Promise<void> {
    return this.#owned((store) => store.readOnce(offset, into));
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
        // The file was released during the operation and is owned again by now: it is reopened, and the operation is repeated.
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
      // It was closed meanwhile: another use may have the volume open by now.
      throw this.#isClosed ? storeClosed() : error;
    } finally {
      this.#reopening = undefined;
    }
  }
}
