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
  /** The end of what was let go of last: what is under way there is finished first, and until then nobody can open the file. */
  let leaving: Promise<unknown> = Promise.resolve();
  let size = first.size();
  let isClosed = false;

  /** Whoever asks from its end on finds what it opened: nobody opens the volume a second time beside it. */
  const openAgain = async (): Promise<BlockStore> => {
    try {
      await leaving;
      const opened = await reopen();
      if (!isClosed) {
        current = opened;
        return opened;
      }
      await opened.close();
      throw storeClosed();
    } catch (error) {
      // Closed meanwhile, so the volume may be open for somebody else by now.
      throw isClosed ? storeClosed() : error;
    } finally {
      reopening = undefined;
    }
  };
  const use = async (): Promise<BlockStore> => {
    check();
    if (isClosed) throw storeClosed();
    if (current) return current;
    reopening ??= openAgain();
    const opened = await reopening;
    try {
      check();
    } catch (error) {
      // Owned no longer since it was asked for: nobody else could open it.
      await letGo();
      throw error;
    }
    return opened;
  };
  const letGo = async (): Promise<void> => {
    const held = current;
    if (!held) return;
    size = held.size();
    current = undefined;
    const closed = held.close();
    // Whoever opens it again only has to know that it is over; a failure is that of `letGo`.
    leaving = closed.catch(() => undefined);
    await closed;
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
      writeDurably: (offset, bytes) => owned((store) => store.writeDurably(offset, bytes)),
      grow: (newSize) => owned((store) => store.grow(newSize)),
      allocatedBytes: () => owned((store) => store.allocatedBytes()),
      copyTo: (target) => owned((store) => store.copyTo(target)),
      async close() {
        isClosed = true;
        // Whoever opens the volume next finds nothing of it still open.
        await reopening?.catch(() => undefined);
        await Promise.all([current?.close(), leaving]);
      },
    },
    letGo,
  };
};
