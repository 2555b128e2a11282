import { type Cause, Rejection } from '@interlock/event-store';
import type { Session } from '../data/session.ts';
import { checkRange, explained, type IoCaller, refuseReadOnly, type SessionIo } from '../data/session-io.ts';
import type { Parts } from '../pieces/encrypted-disk.ts';

/** A run of bytes with data, or without. */
export interface Extent {
  readonly length: number;
  readonly isHole: boolean;
}

/** A read that fills `bytes`, or a write of `bytes`. */
export interface ImmediateIo {
  readonly kind: 'read' | 'write';
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * An open disk as a connection serves it. Every method that takes an offset checks access before the file is touched, and reads check it
 * again before they hand over bytes (G1).
 * @throws Rejection OUT_OF_RANGE BEYOND_END_OF_DISK; PERMISSION_DENIED ACCESS_IS_READ_ONLY; as `SessionIo.checkOf`
 */
export interface Export {
  /** Full name of the disk. */
  readonly name: string;
  readonly isReadOnly: boolean;
  /** Aborted when the access ends. */
  readonly ending: AbortSignal;
  /** Bytes. */
  size(): number;
  /**
   * Performs requests that were made at the same time, if none of them has to wait.
   * @returns whether all are done and may be answered; otherwise use `read` and `write`: any of them may be done
   */
  performNow(requests: readonly ImmediateIo[]): boolean;
  /** The bytes in order, in parts. */
  read(offset: number, length: number, parts: Parts): AsyncIterable<Uint8Array>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  extents(offset: number, length: number): Promise<readonly Extent[]>;
  flush(): Promise<void>;
  /** Checks access before a change is acknowledged. */
  confirm(): void | Promise<void>;
  /** The connection is over. */
  release(): void;
}

/** The open disks of a host, for connections. */
export interface Exports {
  /** The export of a disk and an access token. @throws Rejection as `Sessions.of` */
  open(name: string, token: string): Promise<Export>;
  /** Names of disks that are open here. */
  names(): Promise<readonly string[]>;
}

/** Exports of the sessions in this thread. */
export interface SessionExports extends Exports {
  open(name: string, token: string): Promise<SessionExport>;
}

/** Opens exports of the sessions in this thread. */
export const sessionExports = (parts: {
  readonly io: SessionIo;
  readonly openDisks: () => readonly string[];
  /** Makes the cause of what one connection does. */
  readonly newCause: () => Cause;
  /** Aborted when the service stops. */
  readonly signal: AbortSignal;
}): SessionExports => {
  const { io, openDisks, newCause, signal } = parts;
  return {
    async open(name, token) {
      const session = await io.sessionOf(name, token);
      return new SessionExport(session, io, { cause: newCause(), signal, remainingMs: () => Number.POSITIVE_INFINITY });
    },
    names: async () => openDisks(),
  };
};

/** A session for one connection. */
export class SessionExport implements Export {
  readonly session: Session;
  readonly #io: SessionIo;
  readonly #caller: IoCaller;
  #isReleased = false;

  constructor(session: Session, io: SessionIo, caller: IoCaller) {
    this.session = session;
    this.#io = io;
    this.#caller = caller;
    session.blockDevices += 1;
  }

  get name(): string {
    return this.session.name;
  }
  get isReadOnly(): boolean {
    return this.session.level === 'read';
  }
  get ending(): AbortSignal {
    return this.session.ending.signal;
  }
  size(): number {
    return this.session.disk.size();
  }
  /** File operations of this thread are asynchronous: nothing is done at once. */
  performNow(): boolean {
    return false;
  }

  async *read(offset: number, length: number, parts: Parts): AsyncGenerator<Uint8Array> {
    const { name, disk } = this.session;
    checkRange(name, offset, length, disk.size());
    const check = this.#io.checkOf(this.session, this.#caller, 0);
    try {
      yield* disk.read(offset, length, check, parts);
    } catch (error) {
      throw await explained(error, check);
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    refuseReadOnly(this.session);
    await this.#io.write(this.session, offset, bytes, this.#caller);
  }

  async discard(offset: number, length: number): Promise<void> {
    const { name, disk } = this.session;
    refuseReadOnly(this.session);
    checkRange(name, offset, length, disk.size());
    const check = this.#io.checkOf(this.session, this.#caller, 0);
    try {
      await disk.discard(offset, length, check);
    } catch (error) {
      throw await explained(error, check);
    }
  }

  async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const { name, disk } = this.session;
    checkRange(name, offset, length, disk.size());
    return await disk.extents(offset, length, this.#io.checkOf(this.session, this.#caller, 0));
  }

  flush(): Promise<void> {
    return this.#io.flush(this.session, this.#caller);
  }
  confirm(): void | Promise<void> {
    return this.#io.checkOf(this.session, this.#caller, 0)();
  }
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.session.blockDevices -= 1;
  }
}

/** An export whose access ended. */
export const exportOver = (name: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'ATTACH_EPOCH_OUTDATED',
    `the access to ${name} has ended: open the disk again`,
    {
      disk: name,
    },
  );
