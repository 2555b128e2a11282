import type { Duplex } from 'node:stream';
import type { Alarm, Clock } from '@interlock/runtime';
import { stallMs } from './ending.ts';
import type { Extent } from './export.ts';
import type { ReplyMemory } from './reply-memory.ts';
import {
  allocationContextId,
  chunkHeadLength,
  chunkType,
  command,
  type Errno,
  holeState,
  type Request,
  simpleReplyLength,
  writeChunkHead,
  writeOffset,
  writeSimpleReply,
} from './wire.ts';

/** Most replies that a client has not taken, however short: each costs some memory of its own. */
const untakenMax = 128;

/** A reply with data, to be filled. */
export interface ReplyData {
  /** With room for the head. */
  readonly bytes: Buffer;
  readonly data: Buffer;
  readonly release: () => void;
}

/** What a reply with data says about itself. */
interface Place {
  readonly offset: number;
  /** Whether it is the last of its request. */
  readonly isDone: boolean;
}

export interface RepliesParts {
  readonly memory: ReplyMemory;
  readonly clock: Pick<Clock, 'alarm'>;
}

/** The replies of one connection. A client that neither sends nor takes what it should for `stallMs` is disconnected. */
export class Replies {
  readonly #stream: Duplex;
  readonly #isStructured: boolean;
  readonly #parts: RepliesParts;
  /** Called when the client has taken a reply, after `isFull`. */
  readonly #onTaken: () => void;
  #isCorked = false;
  #untakenCount = 0;
  /** Payloads and replies with data that the client has not sent or taken yet; how many it has. */
  #awaited = 0;
  #arrivedCount = 0;
  /** One for all of them. */
  #stallAlarm: Alarm | undefined;

  constructor(stream: Duplex, isStructured: boolean, parts: RepliesParts, onTaken: () => void) {
    this.#stream = stream;
    this.#onTaken = onTaken;
    this.#isStructured = isStructured;
    this.#parts = parts;
  }

  /** Whether the client has to take some before it may receive more. */
  get isFull(): boolean {
    return this.#untakenCount >= untakenMax || this.#stream.writableNeedDrain;
  }

  /** Memory for a reply with so many bytes of data. */
  room(length: number): ReplyData {
    const dataAt = this.#isStructured ? chunkHeadLength + 8 : simpleReplyLength;
    const { bytes, release } = this.#parts.memory.take(dataAt + length);
    return { bytes, data: bytes.subarray(dataAt), release };
  }

  /** @param onTaken called when the client took it: until then the request holds its memory */
  data({ cookie }: Request, { bytes, release }: ReplyData, { offset, isDone }: Place, onTaken: () => void): void {
    if (this.#isStructured) {
      writeChunkHead(bytes, cookie, { type: chunkType.offsetData, isDone, length: bytes.length - chunkHeadLength });
      writeOffset(bytes, offset);
    } else writeSimpleReply(bytes, cookie, 0);
    this.await();
    this.#send(bytes, () => {
      this.arrived();
      release();
      onTaken();
    });
  }

  /** Begins a reply with data in one part, however long; `dataPart` sends it. Nothing else may be sent in between. */
  begin({ cookie, offset, length }: Request): void {
    const bytes = Buffer.alloc(this.#isStructured ? chunkHeadLength + 8 : simpleReplyLength);
    if (this.#isStructured) {
      writeChunkHead(bytes, cookie, { type: chunkType.offsetData, isDone: true, length: 8 + length });
      writeOffset(bytes, offset);
    } else writeSimpleReply(bytes, cookie, 0);
    this.#send(bytes);
  }

  /** Sends bytes. Resolves when the client took them. */
  async dataPart(bytes: Uint8Array): Promise<void> {
    this.await();
    await new Promise<void>((resolve) => this.#send(bytes, resolve));
    this.arrived();
  }

  /** As `data`. Resolves when the client took it. */
  dataTaken(request: Request, reply: ReplyData, place: Place): Promise<void> {
    return new Promise((resolve) => this.data(request, reply, place, resolve));
  }

  done(request: Request): void {
    const isStructured = this.#isStructured && request.command === command.read;
    const bytes = Buffer.alloc(isStructured ? chunkHeadLength : simpleReplyLength);
    if (isStructured) writeChunkHead(bytes, request.cookie, { type: chunkType.none, isDone: true, length: 0 });
    else writeSimpleReply(bytes, request.cookie, 0);
    this.#send(bytes);
  }

  /** Replies to reads and block status are chunks once structured replies were negotiated; others may be simple. */
  error({ cookie, command: kind }: Request, code: Errno): void {
    const isChunk = this.#isStructured && (kind === command.read || kind === command.blockStatus);
    const bytes = Buffer.alloc(isChunk ? chunkHeadLength + 6 : simpleReplyLength);
    if (isChunk) {
      writeChunkHead(bytes, cookie, { type: chunkType.error, isDone: true, length: 6 });
      bytes.writeUInt32BE(code, chunkHeadLength);
    } else writeSimpleReply(bytes, cookie, code);
    this.#send(bytes);
  }

  /** The reply to a block status. Resolves when the client took it. */
  extents({ cookie }: Request, extents: readonly Extent[]): Promise<void> {
    const bytes = Buffer.alloc(chunkHeadLength + 4 + extents.length * 8);
    const length = bytes.length - chunkHeadLength;
    writeChunkHead(bytes, cookie, { type: chunkType.blockStatus, isDone: true, length });
    bytes.writeUInt32BE(allocationContextId, chunkHeadLength);
    for (const [index, extent] of extents.entries()) {
      bytes.writeUInt32BE(extent.length, chunkHeadLength + 4 + index * 8);
      bytes.writeUInt32BE(extent.isHole ? holeState : 0, chunkHeadLength + 8 + index * 8);
    }
    return this.dataPart(bytes);
  }

  /** The client has to send or to take something. */
  await(): void {
    this.#awaited += 1;
    if (this.#stallAlarm === undefined) this.#watch();
  }
  /** The client has sent or taken it. */
  arrived(): void {
    this.#awaited -= 1;
    this.#arrivedCount += 1;
  }

  /** Sends the replies that wait to be sent together. */
  flush(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#stream.uncork();
  }

  /** Stops sending. Replies that the client has not taken are still watched. */
  close(): void {
    if (this.#awaited === 0) this.#stallAlarm?.cancel();
  }

  #watch(): void {
    const before = this.#arrivedCount;
    this.#stallAlarm = this.#parts.clock.alarm(stallMs, () => {
      this.#stallAlarm = undefined;
      if (this.#awaited === 0 || this.#stream.destroyed) return;
      if (this.#arrivedCount === before) this.#stream.destroy();
      else this.#watch();
    });
  }

  /** Replies to requests that arrived together leave with one system call. */
  #send(bytes: Uint8Array, onTaken?: () => void): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) {
      onTaken?.();
      return;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      setImmediate(() => this.flush());
    }
    this.#untakenCount += 1;
    this.#stream.write(bytes, () => {
      this.#untakenCount -= 1;
      onTaken?.();
      if (this.#untakenCount === untakenMax - 1) this.#onTaken();
    });
  }
}
