import { fdatasync, fstat, ftruncate, read, write } from 'node:fs';
import { promisify } from 'node:util';
import { type BlockStore, checkGrowth, checkSectors, copySectors, storeClosed } from './block-store.ts';
import type { FileThreads } from './file-threads.ts';
import type { OpenedFile } from './file-worker.ts';

/** A file whose sectors are a store. Whoever opened it sees to it that nobody else has it open. */
export interface BlockFile extends OpenedFile {
  /** How it is called in messages. */
  readonly path: string;
  readonly threads: FileThreads;
  /** `small`: a few sectors, on the threads. `large`: sectors of guests, on the pool of Node, which copies nothing. */
  readonly kind: 'small' | 'large';
  /** Told once the file is closed. */
  readonly onClosed: () => void;
}

/** The store that a file is; its `close` closes the file. */
export const fileBlockStore = ({ fd, size: initialSize, path, threads, kind, onClosed }: BlockFile): BlockStore => {
  const access = kind === 'large' ? onPool(fd) : onThreads(fd, threads);
  let size = initialSize;
  let isOpen = true;
  let underWay = 0;
  let onIdle = (): void => undefined;

  /** A descriptor is given to the next file as soon as it is closed, so nothing may be under way with it then. */
  const using = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (!isOpen) throw storeClosed();
    underWay += 1;
    try {
      return await work();
    } finally {
      underWay -= 1;
      if (underWay === 0) onIdle();
    }
  };

  const store: BlockStore = {
    size: () => size,
    read: (offset, into) =>
      using(async () => {
        checkSectors(offset, into.length, size);
        for (let done = 0; done < into.length; ) {
          const count = await access.read(into.subarray(done), offset + done);
          if (count === 0) throw new Error(`${path} ends before ${offset + into.length} bytes`);
          done += count;
        }
      }),
    write: (offset, bytes) =>
      using(async () => {
        checkSectors(offset, bytes.length, size);
        for (let done = 0; done < bytes.length; ) done += await access.write(bytes.subarray(done), offset + done);
      }),
    writeDurably: (offset, bytes) =>
      using(async () => {
        checkSectors(offset, bytes.length, size);
        return threads.writeDurably(fd, offset, bytes);
      }),
    flush: () => using(access.flush),
    grow: (newSize) =>
      using(async () => {
        checkGrowth(newSize, size);
        await truncate(fd, newSize);
        size = newSize;
      }),
    // The unit of `blocks` is 512 bytes whatever the file system's own is (POSIX).
    allocatedBytes: () => using(async () => (await stat(fd)).blocks * 512),
    copyTo: (target) =>
      using(async () => {
        checkSectors(0, size, target.size());
        // Through memory: Node's reflink call removes a target that the file system cannot share blocks with, open or not.
        await copySectors(store, target);
        await target.flush();
      }),
    async close() {
      if (!isOpen) return;
      isOpen = false;
      if (underWay > 0) await new Promise<void>((resolve) => (onIdle = resolve));
      await threads.close(fd).finally(onClosed);
    },
  };
  return store;
};

const [stat, truncate] = [promisify(fstat), promisify(ftruncate)];

/** What is done with the bytes of a file. Reading and writing answer how many bytes were. */
interface FileAccess {
  read(into: Uint8Array, offset: number): Promise<number>;
  write(bytes: Uint8Array, offset: number): Promise<number>;
  flush(): Promise<void>;
}

const onThreads = (fd: number, threads: FileThreads): FileAccess => ({
  async read(into, offset) {
    const bytes = await threads.read(fd, offset, into.length);
    into.set(bytes);
    return bytes.length;
  },
  async write(bytes, offset) {
    await threads.write(fd, offset, bytes);
    return bytes.length;
  },
  flush: () => threads.flush(fd),
});

const onPool = (fd: number): FileAccess => ({
  read: (into, offset) =>
    new Promise((resolve, reject) =>
      read(fd, into, 0, into.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    ),
  write: (bytes, offset) =>
    new Promise((resolve, reject) =>
      write(fd, bytes, 0, bytes.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    ),
  flush: () => new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve()))),
});
