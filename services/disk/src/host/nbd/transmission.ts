import type { Duplex } from 'node:stream';
import { Rejection } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import type { AccessCheck, Parts } from '../cipher/encrypted-disk.ts';
import type { Session } from '../data/session.ts';
import { checkRange, explained, type IoCaller, refuseReadOnly, type SessionIo } from '../data/session-io.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import type { Budget } from './budget.ts';
import { endsConnection, errnoOf } from './errors.ts';
import { type Agreed, blockSizes } from './negotiation.ts';
import type { Reader } from './reader.ts';
import {
  allocationContextId,
  chunkHeadLength,
  chunkType,
  command,
  commandFlag,
  decodeRequest,
  type Errno,
  errno,
  holeState,
  type Request,
  requestLength,
  simpleReplyLength,
  writeChunkHead,
  writeSimpleReply,
} from './wire.ts';

/** Most requests of a connection in progress. */
const requestsMax = 128;
/** How long a client may take for the payload of a write, or for taking replies, before its connection ends, in milliseconds. */
const stallMs = 30_000;
/** Most bytes that one block status looks through. A client calls again for the rest. */
const statusBytesMax = 32 * pieceSize;

export interface TransmissionParts {
  readonly io: SessionIo;
  readonly budget: Budget;
  readonly caller: IoCaller;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly log: Logger;
}

/** Requests of one connection. They run concurrently and are answered as they end. */
export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #stream: Duplex;
  readonly #reader: Reader;
  readonly #session: Session;
  readonly #agreed: Agreed;
  readonly #running = new Set<Promise<void>>();
  #isCorked = false;
  #isOver = false;
  #onProgress: (() => void) | undefined;

  constructor(agreed: Agreed, parts: TransmissionParts) {
    this.#agreed = agreed;
    this.#stream = agreed.stream;
    this.#reader = agreed.reader;
    this.#session = agreed.session;
    this.#parts = parts;
  }

  /** Serves until the client leaves or the access ends. Resolves when no request is in progress. */
  async run(): Promise<void> {
    const end = (): void => this.#finish();
    const { signal } = this.#session.ending;
    signal.addEventListener('abort', end, { once: true });
    try {
      while (!this.#isOver && (await this.#serveNext()));
      await Promise.all(this.#running);
    } finally {
      signal.removeEventListener('abort', end);
      this.#finish();
    }
  }

  /** @returns false at the end of the connection */
  async #serveNext(): Promise<boolean> {
    while (this.#running.size >= requestsMax || this.#stream.writableNeedDrain) {
      if (!(await this.#progress())) return false;
    }
    const head = await this.#reader.take(requestLength);
    const request = head && decodeRequest(head);
    if (request === undefined || request.command === command.disconnect) return false;
    const bytes = heldBytes(request);
    if (bytes > blockSizes.max) {
      this.#replyError(request, errno.EINVAL);
      // The payload of a longer write is not read, so nothing behind it can be.
      return request.command !== command.write;
    }
    await this.#parts.budget.take(bytes);
    const payload = request.command === command.write ? await this.#payload(request.length) : undefined;
    if (request.command === command.write && payload === undefined) {
      this.#parts.budget.release(bytes);
      return false;
    }
    const running = this.#perform(request, payload).finally(() => {
      this.#parts.budget.release(bytes);
      this.#running.delete(running);
      this.#onProgress?.();
    });
    this.#running.add(running);
    return true;
  }

  /** Waits until a request ends or replies were taken. @returns false if the client takes no replies */
  async #progress(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = (): void => resolve(!this.#stream.destroyed);
    this.#onProgress = wake;
    const stalled = this.#parts.clock.alarm(stallMs, () => resolve(this.#running.size > 0));
    this.#stream.once('drain', wake).once('close', wake);
    try {
      return await promise;
    } finally {
      stalled.cancel();
      this.#stream.off('drain', wake).off('close', wake);
      this.#onProgress = undefined;
    }
  }

  async #payload(length: number): Promise<Buffer | undefined> {
    const stalled = this.#parts.clock.alarm(stallMs, () => this.#stream.destroy());
    try {
      return await this.#reader.take(length);
    } finally {
      stalled.cancel();
    }
  }

  async #perform(request: Request, payload: Buffer | undefined): Promise<void> {
    try {
      await this.#carryOut(request, payload);
    } catch (error) {
      if (!(error instanceof Rejection)) {
        this.#parts.log.error('an NBD request failed', { disk: this.#session.name, command: request.command, error });
      }
      this.#replyError(request, errnoOf(error));
      if (endsConnection(error)) this.#finish();
    }
  }

  async #carryOut(request: Request, payload: Buffer | undefined): Promise<void> {
    switch (request.command) {
      case command.read:
        return this.#read(request);
      case command.write:
        return this.#change(request, (check) => this.#write(request.offset, payload ?? Buffer.alloc(0), check));
      case command.flush:
        await this.#parts.io.flush(this.#session, this.#parts.caller);
        return this.#replyDone(request);
      case command.trim:
        return this.#change(request, (check) => this.#session.disk.discard(request.offset, request.length, check));
      case command.writeZeroes:
        return this.#writeZeroes(request);
      case command.blockStatus:
        return this.#blockStatus(request);
      default:
        return this.#replyError(request, errno.EINVAL);
    }
  }

  /** Whole pieces, each as a chunk of its own where replies are structured. */
  async #read(request: Request): Promise<void> {
    const { offset, length, flags } = request;
    this.#checkRange(request);
    const check = this.#parts.io.checkOf(this.#session, this.#parts.caller, 0);
    const inChunks = this.#agreed.isStructured && (flags & commandFlag.df) === 0 && length > pieceSize;
    const reply = inChunks ? undefined : this.#roomFor(length);
    let at = offset;
    const parts: Parts = {
      bytesMax: pieceSize,
      allocate: (bytes) => {
        const room = reply ?? this.#roomFor(bytes);
        const from = room.data + (reply ? at - offset : 0);
        return room.bytes.subarray(from, from + bytes);
      },
    };
    try {
      for await (const part of this.#session.disk.read(offset, length, check, parts)) {
        if (inChunks) await this.#sendData(request, Buffer.from(part.buffer), at, at + part.length === offset + length);
        at += part.length;
      }
    } catch (error) {
      throw await explained(error, check);
    }
    if (reply) await this.#sendData(request, reply.bytes, offset, true);
  }

  /** A buffer for a reply with data; `data`: where the data begins. */
  #roomFor(length: number): { readonly bytes: Buffer; readonly data: number } {
    const data = this.#agreed.isStructured ? chunkHeadLength + 8 : simpleReplyLength;
    return { bytes: Buffer.allocUnsafeSlow(data + length), data };
  }

  /** Resolves when the client took it: until then the request holds its memory. A client that takes nothing is disconnected. */
  async #sendData({ cookie }: Request, bytes: Buffer, offset: number, isDone: boolean): Promise<void> {
    if (this.#agreed.isStructured) {
      writeChunkHead(bytes, cookie, { type: chunkType.offsetData, isDone, length: bytes.length - chunkHeadLength });
      bytes.writeBigUInt64BE(BigInt(offset), chunkHeadLength);
    } else writeSimpleReply(bytes, cookie, 0);
    const { promise, resolve } = Promise.withResolvers<void>();
    const stalled = this.#parts.clock.alarm(stallMs, () => this.#stream.destroy());
    this.#send(bytes, () => resolve());
    await promise;
    stalled.cancel();
  }

  /** A request that changes the disk. Access is checked again before the reply. */
  async #change(request: Request, work: (check: AccessCheck) => Promise<void>): Promise<void> {
    const { io, caller } = this.#parts;
    refuseReadOnly(this.#session);
    this.#checkRange(request);
    const check = io.checkOf(this.#session, caller, request.command === command.write ? request.length : 0);
    try {
      await work(check);
    } catch (error) {
      throw await explained(error, check);
    }
    if ((request.flags & commandFlag.fua) !== 0) await io.flush(this.#session, caller);
    await check();
    this.#replyDone(request);
  }

  #write(offset: number, bytes: Uint8Array, check: AccessCheck): Promise<void> {
    return this.#session.disk.write(offset, bytes, check);
  }

  /** Zeros cost as much as data, so a request that must be fast is refused. */
  async #writeZeroes(request: Request): Promise<void> {
    const { flags, offset, length } = request;
    if ((flags & commandFlag.fastZero) !== 0) return this.#replyError(request, errno.ENOTSUP);
    await this.#change(request, async (check) => {
      const end = offset + length;
      const [first, last] = [Math.min(end, ceilSector(offset)), Math.max(offset, floorSector(end))];
      if ((flags & commandFlag.noHole) !== 0 || first >= last) return this.#writeZeros(offset, end, check);
      await this.#writeZeros(offset, first, check);
      await this.#session.disk.discard(first, last - first, check);
      await this.#writeZeros(last, end, check);
    });
  }

  async #writeZeros(from: number, to: number, check: AccessCheck): Promise<void> {
    for (let at = from; at < to; at += zeros.length) {
      await this.#write(at, zeros.subarray(0, Math.min(zeros.length, to - at)), check);
    }
  }

  async #blockStatus(request: Request): Promise<void> {
    const { offset, length, flags } = request;
    if (!this.#agreed.hasAllocation || length === 0) return this.#replyError(request, errno.EINVAL);
    this.#checkRange(request);
    const check = this.#parts.io.checkOf(this.#session, this.#parts.caller, 0);
    const found = await this.#session.disk.extents(offset, Math.min(length, statusBytesMax), check);
    const extents = (flags & commandFlag.reqOne) === 0 ? found : found.slice(0, 1);
    const bytes = Buffer.alloc(chunkHeadLength + 4 + extents.length * 8);
    writeChunkHead(bytes, request.cookie, {
      type: chunkType.blockStatus,
      isDone: true,
      length: bytes.length - chunkHeadLength,
    });
    bytes.writeUInt32BE(allocationContextId, chunkHeadLength);
    for (const [index, { length: extent, isHole }] of extents.entries()) {
      bytes.writeUInt32BE(extent, chunkHeadLength + 4 + index * 8);
      bytes.writeUInt32BE(isHole ? holeState : 0, chunkHeadLength + 8 + index * 8);
    }
    this.#send(bytes);
  }

  #checkRange({ offset, length }: Request): void {
    checkRange(this.#session.name, offset, length, this.#session.disk.size());
  }

  #replyDone(request: Request): void {
    const isStructured = this.#agreed.isStructured && request.command === command.read;
    const bytes = Buffer.alloc(isStructured ? chunkHeadLength : simpleReplyLength);
    if (isStructured) writeChunkHead(bytes, request.cookie, { type: chunkType.none, isDone: true, length: 0 });
    else writeSimpleReply(bytes, request.cookie, 0);
    this.#send(bytes);
  }

  /** Replies to reads and block status are chunks once structured replies were negotiated; others may be simple. */
  #replyError({ cookie, command: kind }: Request, code: Errno): void {
    const isChunk = this.#agreed.isStructured && (kind === command.read || kind === command.blockStatus);
    const bytes = Buffer.alloc(isChunk ? chunkHeadLength + 6 : simpleReplyLength);
    if (isChunk) {
      writeChunkHead(bytes, cookie, { type: chunkType.error, isDone: true, length: 6 });
      bytes.writeUInt32BE(code, chunkHeadLength);
    } else writeSimpleReply(bytes, cookie, code);
    this.#send(bytes);
  }

  /** Replies of one turn of the event loop leave with one system call. */
  #send(bytes: Uint8Array, onTaken?: () => void): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) {
      onTaken?.();
      return;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      setImmediate(() => {
        this.#isCorked = false;
        this.#stream.uncork();
      });
    }
    this.#stream.write(bytes, onTaken);
  }

  /** Ends the connection once what was sent has left. */
  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onProgress?.();
    setImmediate(() => this.#stream.end());
  }
}

const zeros = new Uint8Array(pieceSize);
const floorSector = (offset: number): number => Math.floor(offset / sectorSize) * sectorSize;
const ceilSector = (offset: number): number => Math.ceil(offset / sectorSize) * sectorSize;

/** Memory that a request holds: its payload, or its reply. */
const heldBytes = ({ command: kind, length }: Request): number =>
  kind === command.read || kind === command.write ? length : 0;
