import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

/** A file that is appended to. At its size limit it becomes `<path>.1`, in place of an earlier one: twice the limit is the bound. */
export interface RotatingFile {
  /** Hands the bytes to the operating system before it returns. They are never divided between two files. */
  append(bytes: Uint8Array): void;
  close(): void;
}

/** Opens a file, for its owner only, and continues an existing one. */
export const openRotatingFile = (path: string, bytesMax: number): RotatingFile => {
  const open = () => openSync(path, 'a', 0o600);
  let file = open();
  let size = fstatSync(file).size;
  return {
    append(bytes) {
      if (size > 0 && size + bytes.length > bytesMax) {
        closeSync(file);
        renameSync(path, `${path}.1`);
        file = open();
        size = 0;
      }
      size += writeSync(file, bytes);
    },
    close: () => closeSync(file),
  };
};
