import type {
  FlushRequest,
  ReadRequest,
  ReadResponse,
  WriteRequest,
} from '@interlock/contracts/interlock/disk/v1/data.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, type Implementation, names } from '@interlock/rpc';
import { linkRunningSpan } from '@interlock/runtime';
import type { Parts } from '../pieces/encrypted-disk.ts';
import { pieceSize } from '../storage/sector.ts';
import { accessTokenKey } from './access-token.ts';
import { type diskDataDefinition, readData, release } from './definition.ts';
import type { ReadRoom } from './read-room.ts';
import type { Session } from './session.ts';
import { checkRange, explained, refuseReadOnly, type SessionIo } from './session-io.ts';

/** Most bytes of one message. */
const messageDataMax = 2 * 1024 * 1024;

/** 64 KiB a message: smaller ones cost more work of gRPC, larger ones copies of what it received so far. */
const messageParts: Parts = { bytesMax: 64 * 1024, allocate: readData };

/**
 * Most reads and writes of one open of a disk at a time. A stream whose caller does not take the responses holds about 200 KiB.
 */
export const STREAMS_OF_SESSION_MAX = 64;

/** Reads, writes and flushes. The access token is the credential; access is checked before each piece and before each response. */
export const diskDataApi = (io: SessionIo, room: ReadRoom): Implementation<typeof diskDataDefinition> => {
  const door = new DataApi(io, room);
  return {
    read: (request, call) => door.read(request, call),
    write: (requests, call) => door.write(requests, call),
    flush: (request, call) => door.flush(request, call),
  };
};

class DataApi {
  readonly #io: SessionIo;
  readonly #room: ReadRoom;

  constructor(io: SessionIo, room: ReadRoom) {
    this.#io = io;
    this.#room = room;
  }

  async *read({ name, offsetBytes, lengthBytes }: ReadRequest, call: Call): AsyncGenerator<ReadResponse> {
    const session = await this.#sessionOf(name, 'name', call);
    const check = this.#io.checkOf(session, call, 0);
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
        const reading = session.disk.read(at, pieceEnd - at, check, messageParts);
        const drop = (): void => void reading.return(undefined);
        const held = await this.#room.take(roomOf(pieceEnd - at), drop, () => call.signal);
        try {
          for await (const data of reading) {
            at += data.length;
            const message = { data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
            held.rest();
            yield message;
            // Its caller took no parts for a while, and another read needed the memory: the rest of the piece is read again.
            if (!held.resume()) break;
          }
        } finally {
          held.release();
        }
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
      refuseTooLong(data);
      await this.#io.write(session, offset + writtenBytes, data, call);
      writtenBytes += data.length;
      release(message);
    }
    if (!session) throw headerMisplaced('the first message must have a header');
    // Everything is written: the last moment before the acknowledgement.
    await this.#io.checkOf(session, call, 0)();
    return { writtenBytes };
  }

  async flush(request: FlushRequest, call: Call) {
    await this.#io.flush(await this.#sessionOf(request.name, 'name', call), call);
    return {};
  }

  async #sessionOf(name: string, field: string, call: Call): Promise<Session> {
    names.disk.parse(name, field);
    const session = await this.#io.sessionOf(name, call.metadata.get(accessTokenKey));
    linkRunningSpan(session.openedIn);
    return session;
  }
}

/** Memory of a piece: little for a short one, else a buffer for a whole piece. */
const roomOf = (length: number): number => (length <= messageParts.bytesMax ? messageParts.bytesMax : pieceSize);

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

const refuseTooLong = ({ length }: Uint8Array): void => {
  if (length <= messageDataMax) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'DATA_TOO_LONG',
    `data must have at most ${messageDataMax} bytes a message (got ${length})`,
    { field: 'data', value: String(length) },
  );
};

const headerMisplaced = (message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'WRITE_HEADER_INVALID', message, { field: 'header' });
