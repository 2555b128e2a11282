import { type BlockStore, storeClosed } from '../block-store.ts';

/** A store that only its owner uses. */
export interface HeldStore {
  readonly store: BlockStore;
  /** Lets go of the file: another host may take it. It is opened again by the next use that is allowed. */
  letGo(): Promise<void>;
}

/**
 * Asks before each operation whether this host still owns the volume, and again when it is done: what was answered after
 * that belongs to another.
 * @param reopen opens the store anew once it was let go of
 * @param check throws where this host is not the owner
 */
export const holdStore = (first: BlockStore, reopen: () => Promise<BlockStore>, check: () => void): HeldStore => {
  let current: BlockStore | undefined = first;
  let reopening: Promise<BlockStore> | undefined;
  let size = first.size();
  let isClosed = false;

  const use = async (): Promise<BlockStore> => {
    check();
    if (isClosed) throw storeClosed();
    if (current) return current;
    reopening ??= reopen().finally(() => {
      reopening = undefined;
    });
    const opened = await reopening;
    if (isClosed) {
      await opened.close();
      throw storeClosed();
    }
    current = opened;
    return opened;
  };
  const owned = async <Result>(work: (store: BlockStore) => Promise<Result>): Promise<Result> => {
    for (;;) {
      const held = await use();
      try {
        const result = await work(held);
        check();
        return result;
      } catch (error) {
        check();
        // Let go of while it worked, and held again by now: the file is opened again, and what was not answered is repeated.
        if (held === current || isClosed) throw error;
      }
    }
  };
  return {
    store: {
      size: () => current?.size() ?? size,
      read: (offset, into) => owned((store) => store.read(offset, into)),
      write: (offset, bytes) => owned((store) => store.write(offset, bytes)),
      flush: () => owned((store) => store.flush()),
      grow: (newSize) => owned((store) => store.grow(newSize)),
      allocatedBytes: () => owned((store) => store.allocatedBytes()),
      copyTo: (target) => owned((store) => store.copyTo(target)),
      async close() {
        isClosed = true;
        await current?.close();
      },
    },
    async letGo() {
      const held = current;
      if (!held) return;
      size = held.size();
      current = undefined;
      await held.close();
    },
  };
};
