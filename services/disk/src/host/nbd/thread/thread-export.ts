import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { openDiskCipher } from '../../cipher/dek.ts';
import type { SectorCipher, SectorRun } from '../../cipher/xts.ts';
import { maskSize, type XtsMask } from '../../cipher/xts-mask.ts';
import { ThreadPass } from '../../keys/thread-gate.ts';
import { cut } from '../../pieces/cutting.ts';
import type { Parts } from '../../pieces/encrypted-disk.ts';
import { writtenSectors } from '../../pieces/sealing.ts';
import { pieceSize, sectorSize } from '../../storage/sector.ts';
import type { Export, Extent, ImmediateIo } from '../export.ts';
import { free, type HostCalls, type OpenedExport } from './calls.ts';
import type { Remote } from './link.ts';

/**
 * Bytes that are read or written with one call and transformed at once. They stay in the nearer caches of a core meanwhile. Longer writes
 * would make large folios of the page cache: in those, ext4 looks at every block for each later write of one (30 of 50 us of processor
 * time for 4 KiB in a folio of 1 MiB, Linux 6.18).
 */
export const windowBytes = maskSize;

/** What was made from the DEK of an export. */
interface Unlocked {
  readonly pass: ThreadPass;
  readonly cipher: SectorCipher;
  readonly fd: number;
}

/**
 * An export in the data thread. Whole sectors are read and written here, synchronously, while the `ThreadGate` permits it. Everything
 * else is a call to the thread of the service, which may pause or refuse it.
 */
export class ThreadExport implements Export {
  readonly name: string;
  readonly isReadOnly: boolean;
  readonly #opened: OpenedExport;
  readonly #host: Remote<HostCalls>;
  readonly #mask: XtsMask;
  readonly #scratch: Uint8Array;
  readonly #onReleased: () => void;
  readonly #ending = new AbortController();
  #unlocked: Unlocked | undefined;

  /** @param scratch `windowBytes` of memory that all exports of the thread share */
  constructor(
    name: string,
    opened: OpenedExport,
    parts: {
      readonly host: Remote<HostCalls>;
      readonly mask: XtsMask;
      readonly scratch: Uint8Array;
      readonly onReleased: () => void;
    },
  ) {
    this.name = name;
    this.isReadOnly = opened.isReadOnly;
    this.#opened = opened;
    this.#host = parts.host;
    this.#mask = parts.mask;
    this.#scratch = parts.scratch;
    this.#onReleased = parts.onReleased;
  }

  get ending(): AbortSignal {
    return this.#ending.signal;
  }
  size(): number {
    return this.#opened.size;
  }

  /** The DEK can be used. */
  permit(memory: SharedArrayBuffer): void {
    this.drop();
    const { path } = this.#opened;
    if (path === undefined || this.#ending.signal.aborted) return;
    const pass = new ThreadPass(memory);
    const dek = pass.dek();
    const cipher = openDiskCipher(dek, this.#mask);
    dek.fill(0);
    this.#unlocked = { pass, cipher, fd: openSync(path, constants.O_RDWR) };
  }

  /** The DEK was dropped. */
  drop(): void {
    if (this.#unlocked === undefined) return;
    const { cipher, fd } = this.#unlocked;
    this.#unlocked = undefined;
    cipher.destroy();
    closeSync(fd);
  }

  /** The access has ended. */
  end(): void {
    this.drop();
    this.#ending.abort();
  }

  performNow(requests: readonly ImmediateIo[]): boolean {
    const unlocked = this.#unlocked;
    if (unlocked === undefined || !requests.every((one) => this.#isImmediate(one))) return false;
    const { pass } = unlocked;
    if (!pass.enter()) return false;
    try {
      this.#write(
        unlocked,
        requests.filter(({ kind }) => kind === 'write'),
      );
      this.#read(
        unlocked,
        requests.filter(({ kind }) => kind === 'read'),
      );
    } catch {
      // The thread of the service does it again, and reports what fails.
      return false;
    } finally {
      pass.leave();
    }
    return pass.isOpen();
  }

  /** Whole sectors within the disk. */
  #isImmediate({ kind, offset, bytes: { length } }: ImmediateIo): boolean {
    if (kind === 'write' && this.isReadOnly) return false;
    return offset % sectorSize === 0 && length % sectorSize === 0 && offset + length <= this.#opened.size;
  }

  #write({ cipher, fd }: Unlocked, writes: readonly ImmediateIo[]): void {
    for (const group of groups(writes, windowBytes)) {
      let at = 0;
      const sealed = group.map(({ offset, bytes: source }) => {
        const target = this.#scratch.subarray(at, at + source.length);
        at += source.length;
        return { sector: offset / sectorSize, source, target };
      });
      cipher.encryptAll(sealed);
      for (const { sector, target } of sealed) {
        for (let done = 0; done < target.length; ) {
          done += writeSync(fd, target, done, target.length - done, sector * sectorSize + done);
        }
      }
    }
  }

  /** @throws Error if the file is shorter than the disk */
  #read({ cipher, fd }: Unlocked, reads: readonly ImmediateIo[]): void {
    for (const group of groups(reads, windowBytes)) {
      const written: SectorRun[] = [];
      for (const { offset, bytes } of group) {
        for (let done = 0; done < bytes.length; ) {
          const count = readSync(fd, bytes, done, bytes.length - done, offset + done);
          if (count === 0) throw new Error(`the file of ${this.name} ends before ${offset + bytes.length} bytes`);
          done += count;
        }
        written.push(...writtenSectors(offset / sectorSize, bytes, bytes));
      }
      cipher.decryptAll(written);
    }
  }

  async *read(offset: number, length: number, { bytesMax, allocate }: Parts): AsyncGenerator<Uint8Array> {
    for (const [from, to] of cut(offset, offset + length, Math.min(bytesMax, pieceSize))) {
      const part = allocate(to - from);
      const isDone = this.performNow([{ kind: 'read', offset: from, bytes: part }]);
      if (!isDone) {
        const read = await this.#host.read(this.#opened.id, from, to - from);
        part.set(read);
        free(read);
      }
      yield part;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (const [from, to] of cut(offset, offset + bytes.length, pieceSize)) {
      const piece = bytes.subarray(from - offset, to - offset);
      const isDone = this.performNow([{ kind: 'write', offset: from, bytes: piece }]);
      if (!isDone) await this.#host.write(this.#opened.id, from, piece);
    }
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#host.discard(this.#opened.id, offset, length);
  }
  extents(offset: number, length: number): Promise<readonly Extent[]> {
    return this.#host.extents(this.#opened.id, offset, length);
  }
  flush(): Promise<void> {
    return this.#host.flush(this.#opened.id);
  }
  confirm(): void | Promise<void> {
    return this.#unlocked?.pass.isOpen() ? undefined : this.#host.confirm(this.#opened.id);
  }

  release(): void {
    this.drop();
    this.#onReleased();
    void this.#host.release(this.#opened.id);
  }
}

/** Groups of requests that fit into so many bytes together; one that does not fit is cut. */
function* groups(requests: readonly ImmediateIo[], bytesMax: number): Generator<readonly ImmediateIo[]> {
  let group: ImmediateIo[] = [];
  let bytes = 0;
  for (const { kind, offset, bytes: all } of requests) {
    for (const [from, to] of cut(offset, offset + all.length, bytesMax)) {
      if (bytes + to - from > bytesMax) {
        yield group;
        group = [];
        bytes = 0;
      }
      group.push({ kind, offset: from, bytes: all.subarray(from - offset, to - offset) });
      bytes += to - from;
    }
  }
  if (group.length > 0) yield group;
}
