import type {
  FlushRequest,
  ReadRequest,
  ReadResponse,
  WriteRequest,
} from '@interlock/contracts/interlock/disk/v1/data.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, type Implementation, names } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Background } from '../background.ts';
import type { AccessCheck, Parts } from '../cipher/encrypted-disk.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Ownership } from '../ownership.ts';
import { pieceSize } from '../storage/sector.ts';
import { accessTokenKey } from './access-token.ts';
import { type diskDataDefinition, giveBack, readData } from './definition.ts';
import type { Holders } from './holders.ts';
import type { ReadRoom } from './read-room.ts';
import type { Regaining } from './regaining.ts';
import { checkPiece, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** Most bytes of one message. */
const messageDataMax = 2 * 1024 * 1024;

/** 64 KiB a message: smaller ones cost more work of gRPC, larger ones copies of what it received so far. */
const messageParts: Parts = { bytesMax: 64 * 1024, allocate: readData };

/**
 * Most reads and writes of one open of a disk at a time. A stream whose caller does not take the responses holds about 200 KiB.
 */
export const STREAMS_OF_SESSION_MAX = 64;

/** What reads and writes need. */
interface DiskDataParts {
  readonly sessions: Sessions;
  readonly holders: Pick<Holders, 'check'>;
  readonly regaining: Regaining;
  readonly ownership: Pick<Ownership, 'isHeld' | 'regained'>;
  /** Work that yields to reads and writes. */
  readonly background: Pick<Background, 'noteGuest'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly clock: Clock;
  readonly room: ReadRoom;
}

/** Reads, writes and flushes. The access token is the credential; access is checked before each piece and before each response. */
export const diskDataApi = (parts: DiskDataParts): Implementation<typeof diskDataDefinition> => {
  const door = new DataDoor(parts);
  return {
    read: (request, call) => door.read(request, call),
    write: (requests, call) => door.write(requests, call),
    flush: (request, call) => door.flush(request, call),
  };
};

class DataDoor {
  readonly #parts: DiskDataParts;

  constructor(parts: DiskDataParts) {
    this.#parts = parts;
  }

  async *read({ name, offsetBytes, lengthBytes }: ReadRequest, call: Call): AsyncGenerator<ReadResponse> {
    const session = await this.#sessionOf(name, 'name', call);
    const check = this.#checkOf(session, call, 0);
    if (lengthBytes < 1) {
      throw new Rejection('INVALID_ARGUMENT', 'LENGTH_INVALID', 'length_bytes must be 1 or more', {
        field: 'length_bytes',
      });
    }
    checkRange(name, offsetBytes, lengthBytes, session.disk.size());
    using _stream = streamOf(session);
    const end = offsetBytes + lengthBytes;
    try {
      for (let at = offsetBytes; at < end; ) {
        const pieceEnd = Math.min(end, (Math.floor(at / pieceSize) + 1) * pieceSize);
        at = yield* this.#readPiece(session, [at, pieceEnd], check, call);
      }
    } catch (error) {
      throw await explained(error, check);
    }
  }

  async write(requests: AsyncIterable<WriteRequest>, call: Call) {
    using stream = new DisposableStack();
    let session: Session | undefined;
    let offset = 0;
    let writtenBytes = 0;
    for await (const message of requests) {
      const { header, data } = message;
      if (session && header) throw headerMisplaced('only the first message may have a header');
      if (!session) {
        if (!header) throw headerMisplaced('the first message must have a header');
        session = await this.#sessionOf(header.name, 'header.name', call);
        refuseReadOnly(session);
        stream.use(streamOf(session));
        offset = header.offsetBytes;
      }
      await this.#writeData(session, offset + writtenBytes, data, call);
      writtenBytes += data.length;
      giveBack(message);
    }
    if (!session) throw headerMisplaced('the first message must have a header');
    // Everything is written: the last moment before the acknowledgement.
    await this.#checkOf(session, call, 0)();
    return { writtenBytes };
  }

  /** Needs no key: what was acknowledged before an access loss must reach stable storage after it. */
  async flush(request: FlushRequest, call: Call) {
    const { clock } = this.#parts;
    const session = await this.#sessionOf(request.name, 'name', call);
    session.refuseEnded(clock.now());
    try {
      await this.#flushWhileOwned(session, call);
    } catch (error) {
      // The access ended while the storage worked.
      if (error instanceof Rejection && error.reason === 'STORE_CLOSED') session.refuseEnded(clock.now());
      throw error;
    }
    return {};
  }

  async #sessionOf(name: string, field: string, call: Call): Promise<Session> {
    names.disk.parse(name, field);
    const session = await this.#parts.sessions.of(name, call.metadata.get(accessTokenKey));
    this.#parts.background.noteGuest();
    return session;
  }

  async #writeData(session: Session, offset: number, data: Uint8Array, call: Call): Promise<void> {
    refuseTooLong(data);
    checkRange(session.name, offset, data.length, session.disk.size());
    const check = this.#checkOf(session, call, data.length);
    try {
      await session.disk.write(offset, data, check);
    } catch (error) {
      throw await explained(error, check);
    }
  }

  /** @param bytes how many the call holds in memory while it waits */
  #checkOf(session: Session, call: Call, bytes: number): AccessCheck {
    const { holders, ownership, regaining, clock } = this.#parts;
    const { cause, signal } = call;
    const io = { bytes, remainingMs: () => call.remainingMs(), signal, cause };
    const gate = { ownership, now: () => clock.now(), regain: () => regaining(session, io) };
    return () => {
      const holding = holders.check(session);
      return holding === undefined ? checkPiece(session, gate) : holding.then(() => checkPiece(session, gate));
    };
  }

  /** Waits for the host's lease on its volumes as reads and writes do, also if it is lost during the flush. */
  async #flushWhileOwned(session: Session, call: Call): Promise<void> {
    const { clock, terms, ownership } = this.#parts;
    const endMs = clock.monotonicMs() + Math.min(terms.ioPauseTimeoutMs, call.remainingMs());
    for (;;) {
      await ownership.regained(Math.max(0, endMs - clock.monotonicMs()), call.signal);
      try {
        return await session.disk.flush();
      } catch (error) {
        if (!(error instanceof Rejection && error.reason === 'DISK_HOST_LEASE_OVER')) throw error;
      }
    }
  }

  /**
   * Sends a piece. If its caller takes no parts and another read waits for memory, the rest of the piece is dropped.
   * @returns where it came to; the rest is read again
   */
  async *#readPiece(
    { disk }: Session,
    [from, to]: readonly [from: number, to: number],
    check: AccessCheck,
    call: Call,
  ): AsyncGenerator<ReadResponse, number> {
    const reading = disk.read(from, to - from, check, messageParts);
    const drop = (): void => void reading.return(undefined);
    const held = await this.#parts.room.take(roomOf(to - from), drop, () => call.signal);
    let at = from;
    try {
      for await (const data of reading) {
        at += data.length;
        const message = { data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
        held.rest();
        yield message;
        if (!held.resume()) break;
      }
      return at;
    } finally {
      held.giveBack();
    }
  }
}

/** Memory of a piece: little for a short one, else a buffer for a whole piece. */
const roomOf = (length: number): number => (length <= messageParts.bytesMax ? messageParts.bytesMax : pieceSize);

/** If the DEK was dropped during a piece, its caller receives the reason of that. */
const explained = async (error: unknown, check: AccessCheck): Promise<unknown> => {
  if (!(error instanceof Rejection && (error.reason === 'DEK_DROPPED' || error.reason === 'STORE_CLOSED')))
    return error;
  await check();
  return new Rejection(
    'UNAVAILABLE',
    'KEY_ACCESS_RETURNED',
    'access was lost and is restored: repeat the call',
    {},
    { cause: error },
  );
};

/** Counts a read or write of a session until it is disposed of. @throws Rejection RESOURCE_EXHAUSTED TOO_MANY_STREAMS */
const streamOf = (session: Session): Disposable => {
  if (session.streams >= STREAMS_OF_SESSION_MAX) {
    throw new Rejection(
      'RESOURCE_EXHAUSTED',
      'TOO_MANY_STREAMS',
      `at most ${STREAMS_OF_SESSION_MAX} reads and writes of ${session.name} may be in progress: take the responses of some first`,
      { disk: session.name, max: String(STREAMS_OF_SESSION_MAX), retryAfterMs: '100' },
    );
  }
  session.streams += 1;
  return {
    [Symbol.dispose]() {
      session.streams -= 1;
    },
  };
};

const refuseReadOnly = ({ level, name }: Session): void => {
  if (level === 'write') return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_IS_READ_ONLY',
    `the access to ${name} is for reading: begin one for writing`,
    { disk: name },
  );
};

const refuseTooLong = ({ length }: Uint8Array): void => {
  if (length <= messageDataMax) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'DATA_TOO_LONG',
    `data must have at most ${messageDataMax} bytes a message (got ${length})`,
    { field: 'data', value: String(length) },
  );
};

/** @throws Rejection OUT_OF_RANGE BEYOND_END_OF_DISK; INVALID_ARGUMENT OFFSET_INVALID */
const checkRange = (name: string, offset: number, length: number, size: number): void => {
  if (offset < 0) {
    throw new Rejection('INVALID_ARGUMENT', 'OFFSET_INVALID', 'offset_bytes must be 0 or more', {
      field: 'offset_bytes',
    });
  }
  if (offset + length <= size) return;
  throw new Rejection(
    'OUT_OF_RANGE',
    'BEYOND_END_OF_DISK',
    `bytes ${offset} to ${offset + length} reach beyond the end of ${name} at ${size}`,
    { disk: name, offset: String(offset), length: String(length), size: String(size) },
  );
};

const headerMisplaced = (message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'WRITE_HEADER_INVALID', message, { field: 'header' });
