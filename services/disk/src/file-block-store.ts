import { constants, type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type BlockStore, checkGrowth, checkSectors, copySectors, diskBusy, storeClosed } from './block-store.ts';

/**
 * Opens the sparse file at `path` as a store, and makes it, `size` bytes long, if there is none.
 *
 * The exclusive lock is the operating system's, on `<path>.lock`, so it ends with the process that holds it, however
 * that ends. Node has no call for such a lock; SQLite, which is built in, takes one with BEGIN EXCLUSIVE.
 * @throws Rejection ABORTED DISK_BUSY, and as `checkGrowth`.
 */
export async function openFileBlockStore(path: string, size: number): Promise<BlockStore> {
  checkGrowth(size, 0);
  const unlock = lockFile(path);
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const existing = (await file.stat()).size;
    if (existing === 0) await createDurably(path, file, size);
    return fileBlockStore(path, file, existing || size, unlock);
  } catch (cause) {
    await file?.close();
    unlock();
    throw cause;
  }
}

/** The size and the name of a new file must outlast a crash that its first flushed sectors outlast. */
async function createDurably(path: string, file: FileHandle, size: number): Promise<void> {
  await file.truncate(size);
  await file.sync();
  const directory = await open(dirname(path));
  await directory.sync().finally(() => directory.close());
}

function fileBlockStore(path: string, file: FileHandle, initialSize: number, unlock: () => void): BlockStore {
  let size = initialSize;
  let isOpen = true;
  const checkOpen = () => {
    if (!isOpen) throw storeClosed();
  };

  const store: BlockStore = {
    size: () => size,
    async read(offset, into) {
      checkOpen();
      checkSectors(offset, into.length, size);
      for (let done = 0; done < into.length; ) {
        const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
        if (bytesRead === 0) throw new Error(`${path} ends before ${offset + into.length} bytes`);
        done += bytesRead;
      }
    },
    async write(offset, bytes) {
      checkOpen();
      checkSectors(offset, bytes.length, size);
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
        done += bytesWritten;
      }
    },
    async flush() {
      checkOpen();
      await file.datasync();
    },
    async grow(newSize) {
      checkOpen();
      checkGrowth(newSize, size);
      await file.truncate(newSize);
      size = newSize;
    },
    async allocatedBytes() {
      checkOpen();
      // The unit of `blocks` is 512 bytes whatever the file system's own is (POSIX).
      return (await file.stat()).blocks * 512;
    },
    async copyTo(target) {
      checkOpen();
      checkSectors(0, size, target.size());
      // Through memory: Node's reflink call removes a target that the file system cannot share blocks with, open or not.
      await copySectors(store, target);
      await target.flush();
    },
    async close() {
      if (!isOpen) return;
      isOpen = false;
      await file.close();
      unlock();
    },
  };
  return store;
}

/**
 * Takes the exclusive lock of `path`, which need not be there, on `<path>.lock`.
 * @returns what gives it free @throws Rejection ABORTED DISK_BUSY
 */
export function lockFile(path: string): () => void {
  const database = new DatabaseSync(`${path}.lock`);
  try {
    // Nothing is ever written, so the journal need be no file: making and removing one took most of the time. And pages may be
    // small: room for some is set aside, 154 KB a lock, and so an open disk, in place of 84.
    database.exec('PRAGMA page_size = 512; PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    // SQLITE_BUSY: somebody else has it. Anything else is a fault of the file system.
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === 5) throw diskBusy(path);
    throw cause;
  }
  return () => database.close();
}
