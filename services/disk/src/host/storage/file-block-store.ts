import { fdatasync, fstat, ftruncate, read, write } from 'node:fs';
import { stat, truncate } from 'node:fs/promises';
import { promisify } from 'node:util';
import {
  type BlockStore,
  checkGrowth,
  checkSectors,
  storageRefusal,
  storeClosed,
  writesDurably,
} from './block-store.ts';
import { readDirectly } from './file-direct-reads.ts';
import type { FileThreads } from './file-threads.ts';
import type { OpenedFile } from './file-worker.ts';

/** Access to the bytes of a file. Reads and writes return the number of bytes. */
interface FileAccess {
  /** Its name in messages. */
  readonly path: string;
  read(into: Uint8Array, offset: number): Promise<number>;
  /** As `BlockStore.readOnce`. */
  readOnce(into: Uint8Array, offset: number): Promise<number>;
  write(bytes: Uint8Array, offset: number): Promise<number>;
  /** All steps in one call, if that costs less. */
  writeDurably?(bytes: Uint8Array, offset: number): Promise<boolean>;
  flush(): Promise<void>;
  resize(size: number): Promise<void>;
  /** Blocks of 512 bytes in use, whatever the file system's own unit is (POSIX). */
  blocks(): Promise<number>;
  close(): Promise<void>;
}

/** A file whose sectors are a store. Its opener ensures that it is open once. */
interface BlockFile {
  readonly path: string;
  readonly threads: FileThreads;
  /** Called once the file is closed: one function for all saves an object for each. */
  readonly onClosed: (path: string) => void;
}

/** A store over an open file with sectors of a guest. Its `close` closes the file. */
export const largeFileStore = ({ path, threads, onClosed, ...file }: BlockFile & OpenedFile): BlockStore =>
  new FileBlockStore(new LargeFile(path, threads, file.fd), file.size, onClosed);

/**
 * A store over a file of a few sectors, which is open only during an operation.
 * @param content of the file when it was found, for the first read
 */
export const smallFileStore = (
  { path, threads, onClosed }: BlockFile,
  size: number,
  content: Uint8Array | undefined,
): BlockStore => new FileBlockStore(new SmallFile(path, threads, content), size, onClosed);

/** A class, like everything that exists once per open disk: a closure for each method would take ten times as much memory. */
class FileBlockStore implements BlockStore {
  readonly #file: FileAccess;
  readonly #onClosed: (path: string) => void;
  #size: number;
  #isOpen = true;
  #underWay = 0;
  #onIdle: (() => void) | undefined;

  constructor(file: FileAccess, size: number, onClosed: (path: string) => void) {
    this.#file = file;
    this.#size = size;
    this.#onClosed = onClosed;
  }

  size(): number {
    return this.#size;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#fill(offset, into, (part, from) => this.#file.read(part, from));
  }

  readOnce(offset: number, into: Uint8Array): Promise<void> {
    return this.#fill(offset, into, (part, from) => this.#file.readOnce(part, from));
  }

  write(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#using(async () => {
      checkSectors(offset, bytes.length, this.#size);
      for (let done = 0; done < bytes.length; ) done += await this.#file.write(bytes.subarray(done), offset + done);
    });
  }

  writeDurably(offset: number, bytes: Uint8Array): Promise<boolean> {
    return this.#using(async () => {
      checkSectors(offset, bytes.length, this.#size);
      return this.#file.writeDurably?.(bytes, offset) ?? writesDurably(this)(offset, bytes);
    });
  }

  flush(): Promise<void> {
    return this.#using(() => this.#file.flush());
  }

  grow(size: number): Promise<void> {
    return this.#using(async () => {
      checkGrowth(size, this.#size);
      await this.#file.resize(size);
      this.#size = size;
    });
  }

  allocatedBytes(): Promise<number> {
    return this.#using(async () => (await this.#file.blocks()) * 512);
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#underWay > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      await promise;
    }
    await this.#file.close().finally(() => this.#onClosed(this.#file.path));
  }

  #fill(offset: number, into: Uint8Array, read: FileAccess['read']): Promise<void> {
    return this.#using(async () => {
      checkSectors(offset, into.length, this.#size);
      for (let done = 0; done < into.length; ) {
        const count = await read(into.subarray(done), offset + done);
        if (count === 0) throw new Error(`${this.#file.path} ends before ${offset + into.length} bytes`);
        done += count;
      }
    });
  }

  /** A descriptor is reused for the next file as soon as it is closed, so no operation may still use it then. */
  async #using<Result>(work: () => Promise<Result>): Promise<Result> {
    if (!this.#isOpen) throw storeClosed();
    this.#underWay += 1;
    try {
      return await work();
    } catch (error) {
      throw storageRefusal(error);
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#onIdle?.();
    }
  }
}

const [statOpen, truncateOpen, flushOpen] = [promisify(fstat), promisify(ftruncate), promisify(fdatasync)];

/** On the pool of Node, which copies nothing; opened and closed by the threads. */
class LargeFile implements FileAccess {
  readonly path: string;
  readonly #threads: FileThreads;
  readonly #fd: number;

  constructor(path: string, threads: FileThreads, fd: number) {
    this.path = path;
    this.#threads = threads;
    this.#fd = fd;
  }

  read(into: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) =>
      read(this.#fd, into, 0, into.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    );
  }
  /** Where direct reads fail, the cache serves: an error of the storage comes from there as well. */
  readOnce(into: Uint8Array, offset: number): Promise<number> {
    return readDirectly(this.path, into, offset).catch(() => this.read(into, offset));
  }
  write(bytes: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) =>
      write(this.#fd, bytes, 0, bytes.length, offset, (error, count) => (error ? reject(error) : resolve(count))),
    );
  }
  flush(): Promise<void> {
    return flushOpen(this.#fd);
  }
  resize(size: number): Promise<void> {
    return truncateOpen(this.#fd, size);
  }
  async blocks(): Promise<number> {
    return (await statOpen(this.#fd)).blocks;
  }
  close(): Promise<void> {
    return this.#threads.close(this.#fd);
  }
}

/** On the threads. */
class SmallFile implements FileAccess {
  readonly path: string;
  readonly #threads: FileThreads;
  /** Kept until the first read or write. */
  #content: Uint8Array | undefined;

  constructor(path: string, threads: FileThreads, content: Uint8Array | undefined) {
    this.path = path;
    this.#threads = threads;
    this.#content = content;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    const content = this.#content ?? (await this.#threads.load(this.path));
    this.#content = undefined;
    const bytes = content?.subarray(offset, offset + into.length) ?? new Uint8Array();
    into.set(bytes);
    return bytes.length;
  }
  readOnce(into: Uint8Array, offset: number): Promise<number> {
    return this.read(into, offset);
  }
  async write(bytes: Uint8Array, offset: number): Promise<number> {
    this.#content = undefined;
    await this.#threads.write(this.path, offset, bytes);
    return bytes.length;
  }
  writeDurably(bytes: Uint8Array, offset: number): Promise<boolean> {
    this.#content = undefined;
    return this.#threads.writeDurably(this.path, offset, bytes);
  }
  flush(): Promise<void> {
    return this.#threads.flush(this.path);
  }
  resize(size: number): Promise<void> {
    this.#content = undefined;
    return truncate(this.path, size);
  }
  async blocks(): Promise<number> {
    return (await stat(this.path)).blocks;
  }
  async close(): Promise<void> {
    this.#content = undefined;
  }
}
