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
import type { KeyAccess } from '../keys/key-access.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Ownership } from '../ownership.ts';
import { pieceSize } from '../storage/sector.ts';
import { accessTokenKey } from './access-token.ts';
import { type diskDataDefinition, giveBack, readData } from './definition.ts';
import type { Holders } from './holders.ts';
import type { ReadRoom } from './read-room.ts';
import type { Regaining } from './regaining.ts';
import { checkPiece, refuseEnded, type Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** Most bytes of one message. */
const messageDataMax = 2 * 1024 * 1024;

/** 64 KiB a message: smaller ones cost more of gRPC's work, larger ones copies of what it received so far. */
const messageParts: Parts = { bytesMax: 64 * 1024, allocate: readData };

/**
 * Reads and writes. The access token is the credential; access is checked before each piece of at most 1 MiB and again
 * before that is answered.
 */
export const diskDataApi = (parts: {
  readonly sessions: Sessions;
  readonly holders: Pick<Holders, 'check'>;
  readonly keyAccess: Pick<KeyAccess, 'lossAfter'>;
  readonly regaining: Regaining;
  readonly ownership: Pick<Ownership, 'isHeld' | 'regained'>;
  /** Work that yields to what is done here. */
  readonly background: Pick<Background, 'noteGuest'>;
  /** How long I/O may wait. */
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly clock: Clock;
  /** Memory of what is read, for all reads of the host. */
  readonly room: ReadRoom;
}): Implementation<typeof diskDataDefinition> => {
  const { sessions, holders, keyAccess, regaining, ownership, background, terms, clock, room } = parts;
  const now = () => clock.now();

  const sessionOf = async (name: string, field: string, call: Call): Promise<Session> => {
    names.disk.parse(name, field);
    const session = await sessions.of(name, call.metadata.get(accessTokenKey));
    background.noteGuest();
    return session;
  };
  /** A flush needs no key, but the volume: it waits for that as reads and writes do, also where that is lost meanwhile. */
  const flush = async (session: Session, call: Call): Promise<void> => {
    const endMs = clock.monotonicMs() + Math.min(terms.ioPauseTimeoutMs, call.remainingMs());
    for (;;) {
      await ownership.regained(Math.max(0, endMs - clock.monotonicMs()), call.signal);
      try {
        return await session.disk.flush();
      } catch (error) {
        if (!(error instanceof Rejection && error.reason === 'DISK_HOST_LEASE_OVER')) throw error;
      }
    }
  };
  /** @param bytes how many the call holds in memory while it waits */
  const checkOf = (session: Session, call: Call, bytes: number): AccessCheck => {
    const { cause, signal } = call;
    const io = { bytes, remainingMs: () => call.remainingMs(), signal, cause };
    const gate = { keyAccess, ownership, now, regain: () => regaining(session, io) };
    return () => {
      const holding = holders.check(session);
      return holding === undefined ? checkPiece(session, gate) : holding.then(() => checkPiece(session, gate));
    };
  };

  /** A DEK dropped between check and use is told as what dropped it. */
  const explained = async (error: unknown, check: AccessCheck): Promise<unknown> => {
    if (!(error instanceof Rejection && (error.reason === 'DEK_DROPPED' || error.reason === 'STORE_CLOSED')))
      return error;
    await check();
    return new Rejection(
      'UNAVAILABLE',
      'KEY_ACCESS_RETURNED',
      'access was lost and is back: repeat the call',
      {},
      { cause: error },
    );
  };

  return {
    read: (request: ReadRequest, call: Call) =>
      piecesRead(request, {
        open: async () => {
          const session = await sessionOf(request.name, 'name', call);
          return { session, check: checkOf(session, call, 0) };
        },
        room,
        signal: () => call.signal,
        explained,
      }),

    async write(requests: AsyncIterable<WriteRequest>, call: Call) {
      let target: { readonly session: Session; readonly name: string } | undefined;
      using stream = streamOf();
      let offset = 0;
      let written = 0;
      for await (const message of requests) {
        const { header, data } = message;
        if (target === undefined) {
          if (!header) throw headerMisplaced('the first message must have a header');
          const session = await sessionOf(header.name, 'header.name', call);
          refuseReadOnly(session);
          stream.enter(session);
          target = { session, name: header.name };
          offset = header.offsetBytes;
        } else if (header) throw headerMisplaced('only the first message may have a header');
        if (data.length > messageDataMax) {
          throw new Rejection(
            'INVALID_ARGUMENT',
            'DATA_TOO_LONG',
            `data must have at most ${messageDataMax} bytes a message`,
            {
              field: 'data',
              value: String(data.length),
            },
          );
        }
        const { session, name } = target;
        const at = offset;
        checkRange(name, at, data.length, session.disk.size());
        const check = checkOf(session, call, data.length);
        // A write waits before it goes through the gate: a copy that is to be made waits for those behind it.
        await check();
        await writeWhile(session, () => session.disk.write(at, data, check), check);
        offset += data.length;
        written += data.length;
        giveBack(message);
      }
      if (target === undefined) throw headerMisplaced('the first message must have a header');
      // The stream may have been kept open for any time since its last piece.
      await checkOf(target.session, call, 0)();
      return { writtenBytes: written };
    },

    async flush(request: FlushRequest, call: Call) {
      // Without a key: what was acknowledged before a loss must reach stable storage after it.
      const session = await sessionOf(request.name, 'name', call);
      refuseEnded(session, now());
      try {
        await flush(session, call);
      } catch (error) {
        // The access ended while the storage worked: that is what its caller is told.
        if (error instanceof Rejection && error.reason === 'STORE_CLOSED') refuseEnded(session, now());
        throw error;
      }
      return {};
    },
  };

  async function writeWhile(session: Session, work: () => Promise<void>, check: AccessCheck): Promise<void> {
    session.writes ??= new Set();
    const { writes } = session;
    // One that waits for a copy of the disk has begun nothing: no newer open waits for it, and it is refused once it may begin.
    const begin = async (): Promise<void> => {
      const writing = work();
      writes.add(writing);
      try {
        await writing;
      } finally {
        writes.delete(writing);
      }
    };
    try {
      await session.gate.write(begin);
    } catch (error) {
      throw await explained(error, check);
    }
  }
};

const refuseReadOnly = (session: Session): void => {
  if (session.level === 'write') return;
  throw new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_IS_READ_ONLY',
    `the access to ${session.name} is for reading: begin one for writing`,
    {
      disk: session.name,
    },
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
    {
      disk: name,
      offset: String(offset),
      length: String(length),
      size: String(size),
    },
  );
};

const headerMisplaced = (message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'WRITE_HEADER_INVALID', message, { field: 'header' });

/**
 * Reads and writes of one open of a disk at a time. A disk of its class serves no more operations at once; what a stream has on
 * its way to a caller that does not take it is some 200 KiB.
 */
export const STREAMS_OF_SESSION_MAX = 64;

/** One read or write: counts against its session from `enter` until it is disposed of. */
const streamOf = () => {
  let entered: Session | undefined;
  return {
    /** @throws Rejection RESOURCE_EXHAUSTED TOO_MANY_STREAMS */
    enter(session: Session): void {
      if (session.streams >= STREAMS_OF_SESSION_MAX) throw tooManyStreams(session.name);
      session.streams += 1;
      entered = session;
    },
    [Symbol.dispose](): void {
      if (entered) entered.streams -= 1;
    },
  };
};

const tooManyStreams = (disk: string): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_STREAMS',
    `at most ${STREAMS_OF_SESSION_MAX} reads and writes of ${disk} may be under way at a time: take the answers of some first`,
    { disk, max: String(STREAMS_OF_SESSION_MAX), retryAfterMs: '100' },
  );

/** @throws Rejection LENGTH_INVALID, TOO_MANY_STREAMS, and what `checkRange`, the way to the disk and each check say */
async function* piecesRead(
  { name, offsetBytes, lengthBytes }: ReadRequest,
  way: {
    readonly open: () => Promise<{ readonly session: Session; readonly check: AccessCheck }>;
    readonly room: ReadRoom;
    readonly signal: () => AbortSignal;
    readonly explained: (error: unknown, check: AccessCheck) => Promise<unknown>;
  },
): AsyncGenerator<ReadResponse> {
  const { session, check } = await way.open();
  if (lengthBytes < 1) {
    throw new Rejection('INVALID_ARGUMENT', 'LENGTH_INVALID', 'length_bytes must be 1 or more', {
      field: 'length_bytes',
    });
  }
  checkRange(name, offsetBytes, lengthBytes, session.disk.size());
  using stream = streamOf();
  stream.enter(session);
  const end = offsetBytes + lengthBytes;
  try {
    for (let at = offsetBytes; at < end; ) {
      const pieceEnd = Math.min(end, (Math.floor(at / pieceSize) + 1) * pieceSize);
      at = yield* pieceRead(session.disk, [at, pieceEnd], check, way);
    }
  } catch (error) {
    throw await way.explained(error, check);
  }
}

/**
 * Answers a piece. Its memory is taken back where the caller does not take what is answered and another read waits for memory.
 * @returns up to where it came; what is left is read again
 */
async function* pieceRead(
  disk: Session['disk'],
  [from, to]: readonly [from: number, to: number],
  check: AccessCheck,
  { room, signal }: { readonly room: ReadRoom; readonly signal: () => AbortSignal },
): AsyncGenerator<ReadResponse, number> {
  const reading = disk.read(from, to - from, check, messageParts);
  const drop = (): void => void reading.return(undefined);
  const held = await room.take(roomOf(to - from), drop, signal);
  let at = from;
  try {
    for await (const data of reading) {
      at += data.length;
      const message = { data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
      held.rest();
      yield message;
      if (!held.goOn()) break;
    }
    return at;
  } finally {
    held.giveBack();
  }
}

/** What a piece takes in memory: short ones little, others a buffer for a whole one. */
const roomOf = (length: number): number => (length <= messageParts.bytesMax ? messageParts.bytesMax : pieceSize);
