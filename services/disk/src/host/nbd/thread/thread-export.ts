import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { openDiskCipher } from '../../cipher/dek.ts';
import type { Parts } from '../../cipher/encrypted-disk.ts';
import type { SectorCipher } from '../../cipher/xts.ts';
import type { XtsMask } from '../../cipher/xts-mask.ts';
import { writtenRuns } from '../../storage/block-store.ts';
import { pieceSize, sectorSize } from '../../storage/sector.ts';
import { ThreadPass } from '../../storage/thread-gate.ts';
import type { Export, Extent } from '../export.ts';
import type { HostCalls, OpenedExport } from './calls.ts';
import type { Remote } from './link.ts';

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

  /** @param scratch a piece of memory that all exports of the thread share */
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

  readNow(offset: number, into: Uint8Array): boolean {
    const unlocked = this.#entered(offset, into.length);
    if (unlocked === undefined) return false;
    const { pass, cipher, fd } = unlocked;
    try {
      for (let done = 0; done < into.length; ) {
        const count = readSync(fd, into, done, into.length - done, offset + done);
        if (count === 0) return false;
        done += count;
      }
      for (const [from, to] of writtenRuns(into)) {
        const sectors = into.subarray(from, to);
        cipher.decrypt((offset + from) / sectorSize, sectors, sectors);
      }
    } catch {
      // The thread of the service does it again, and reports what fails.
      return false;
    } finally {
      pass.leave();
    }
    return pass.isOpen();
  }

  writeNow(offset: number, bytes: Uint8Array): boolean {
    if (this.isReadOnly || bytes.length > this.#scratch.length) return false;
    const unlocked = this.#entered(offset, bytes.length);
    if (unlocked === undefined) return false;
    const { pass, cipher, fd } = unlocked;
    const sealed = this.#scratch.subarray(0, bytes.length);
    try {
      cipher.encrypt(offset / sectorSize, bytes, sealed);
      for (let done = 0; done < sealed.length; ) {
        done += writeSync(fd, sealed, done, sealed.length - done, offset + done);
      }
    } catch {
      return false;
    } finally {
      pass.leave();
    }
    return pass.isOpen();
  }

  async *read(offset: number, length: number, { bytesMax, allocate }: Parts): AsyncGenerator<Uint8Array> {
    for (const [at, bytes] of pieces(offset, length, Math.min(bytesMax, pieceSize))) {
      const part = allocate(bytes);
      if (!this.readNow(at, part)) part.set(await this.#host.read(this.#opened.id, at, bytes));
      yield part;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    for (const [at, length] of pieces(offset, bytes.length, pieceSize)) {
      const piece = bytes.subarray(at - offset, at - offset + length);
      if (!this.writeNow(at, piece)) await this.#host.write(this.#opened.id, at, piece);
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

  /** Begins work on whole sectors. @returns undefined if the thread of the service must do it; after anything else call `leave` */
  #entered(offset: number, length: number): Unlocked | undefined {
    const unlocked = this.#unlocked;
    const isWhole = offset % sectorSize === 0 && length % sectorSize === 0 && offset + length <= this.#opened.size;
    return unlocked !== undefined && isWhole && unlocked.pass.enter() ? unlocked : undefined;
  }
}

/** Cuts a range where the disk has multiples of `size`. */
function* pieces(offset: number, length: number, size: number): Generator<readonly [at: number, length: number]> {
  for (let at = offset; at < offset + length; ) {
    const end = Math.min(offset + length, (Math.floor(at / size) + 1) * size);
    yield [at, end - at];
    at = end;
  }
}
