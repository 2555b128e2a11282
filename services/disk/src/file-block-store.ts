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
export const fileBlockStore = (file: BlockFile): BlockStore => new FileBlockStore(file);

/** A class, as whatever there is of each open disk: a function for each thing it does would take ten times as much memory. */
class FileBlockStore implements BlockStore {
  readonly #file: BlockFile;
  #size: number;
  #isOpen = true;
  #underWay = 0;
  #onIdle: (() => void) | undefined;

  constructor(file: BlockFile) {
    this.#file = file;
    this.#size = file.size;
  }

  size(): number {
    return this.#size;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#using(async () => {
      checkSectors(offset, into.length, this.#size);
      for (let done = 0; done < into.length; ) {
        const count = await this.#access.read(this.#file, into.subarray(done), offset + done);
        if (count === 0) throw new Error(`${this.#file.path} ends before ${offset + into.length} bytes`);
        done += count;
      }
    });
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#using(async () => {
      checkSectors(offset, bytes.length, this.#size);
      for (let done = 0; done < bytes.length; )
        done += await this.#access.write(this.#file, bytes.subarray(done), offset + done);
    });
  }

  writeDurably(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#using(async () => {
      checkSectors(offset, bytes.length, this.#size);
      return this.#file.threads.writeDurably(this.#file.fd, offset, bytes);
    });
  }

  flush(): Promise<void> {
    return this.#using(() => this.#access.flush(this.#file));
  }

  grow(size: number): Promise<void> {
    return this.#using(async () => {
      checkGrowth(size, this.#size);
      await truncate(this.#file.fd, size);
      this.#size = size;
    });
  }

  allocatedBytes(): Promise<number> {
    // The unit of `blocks` is 512 bytes whatever the file system's own is (POSIX).
    return this.#using(async () => (await stat(this.#file.fd)).blocks * 512);
  }

  copyTo(target: BlockStore): Promise<void> {
    return this.#using(async () => {
      checkSectors(0, this.#size, target.size());
      // Through memory: Node's reflink call removes a target that the file system cannot share blocks with, open or not.
      await copySectors(this, target);
      await target.flush();
    });
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#underWay > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      await promise;
    }
    await this.#file.threads.close(this.#file.fd).finally(this.#file.onClosed);
  }

  get #access(): FileAccess {
    return accesses[this.#file.kind];
  }

  /** A descriptor is given to the next file as soon as it is closed, so nothing may be under way with it then. */
  async #using<Result>(work: () => Promise<Result>): Promise<Result> {
    if (!this.#isOpen) throw storeClosed();
    this.#underWay += 1;
    try {
      return await work();
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#onIdle?.();
    }
  }
}

const [stat, truncate] = [promisify(fstat), promisify(ftruncate)];

/** What is done with the bytes of a file. Reading and writing answer how many bytes were. */
interface FileAccess {
  read(file: BlockFile, into: Uint8Array, offset: number): Promise<number>;
  write(file: BlockFile, bytes: Uint8Array, offset: number): Promise<number>;
  flush(file: BlockFile): Promise<void>;
}

const onThreads: FileAccess = {
  async read({ fd, threads }, into, offset) {
    const bytes = await threads.read(fd, offset, into.length);
    into.set(bytes);
    return bytes.length;
  },
  async write({ fd, threads }, bytes, offset) {
    await threads.write(fd, offset, bytes);
    return bytes.length;
  },
  flush: ({ fd, threads }) => threads.flush(fd),
};

const onPool: FileAccess = {
  read: ({ fd }, into, offset) =>
    new Promise((resolve, reject) =>
      read(fd, into, 0, into.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    ),
  write: ({ fd }, bytes, offset) =>
    new Promise((resolve, reject) =>
      write(fd, bytes, 0, bytes.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    ),
  flush: ({ fd }) => new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve()))),
};

const accesses: Readonly<Record<BlockFile['kind'], FileAccess>> = { small: onThreads, large: onPool };
