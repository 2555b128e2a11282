import type { Duplex } from 'node:stream';
import { Rejection } from '@interlock/event-store';
import type { Alarm, Clock } from '@interlock/runtime';
import type { Parts } from '../cipher/encrypted-disk.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import type { Budget } from './budget.ts';
import type { NbdDoorParts } from './door.ts';
import { endsConnection, errnoOf } from './errors.ts';
import type { Export } from './export.ts';
import { type Agreed, blockSizes } from './negotiation.ts';
import type { Reader } from './reader.ts';
import type { ReplyMemory, ReplyRoom } from './reply-memory.ts';
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
  readonly budget: Budget;
  readonly memory: ReplyMemory;
  readonly clock: Pick<Clock, 'alarm'>;
  readonly logError: NbdDoorParts['logError'];
}

/** Requests of one connection. They run concurrently and are answered as they end. */
export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #stream: Duplex;
  readonly #reader: Reader;
  readonly #export: Export;
  readonly #agreed: Agreed;
  /** Where the data of a reply begins. */
  readonly #dataAt: number;
  readonly #running = new Set<Promise<void>>();
  #isCorked = false;
  #isOver = false;
  /** Payloads and replies with data that the client has not sent or taken yet; how many it has. */
  #awaited = 0;
  #progressCount = 0;
  #stallAlarm: Alarm | undefined;
  #onProgress: (() => void) | undefined;

  constructor(agreed: Agreed, parts: TransmissionParts) {
    this.#agreed = agreed;
    this.#stream = agreed.stream;
    this.#reader = agreed.reader;
    this.#export = agreed.opened;
    this.#parts = parts;
    this.#dataAt = agreed.isStructured ? chunkHeadLength + 8 : simpleReplyLength;
  }

  /** Serves until the client leaves or the access ends. Resolves when no request is in progress. */
  async run(): Promise<void> {
    const end = (): void => this.#finish();
    const signal = this.#export.ending;
    signal.addEventListener('abort', end, { once: true });
    try {
      while (!this.#isOver && (await this.#serveNext()));
      await Promise.all(this.#running);
    } finally {
      signal.removeEventListener('abort', end);
      this.#finish();
      if (this.#awaited === 0) this.#stallAlarm?.cancel();
      this.#export.release();
    }
  }

  /** @returns false at the end of the connection */
  async #serveNext(): Promise<boolean> {
    while (this.#running.size >= requestsMax || this.#stream.writableNeedDrain) {
      if (!(await this.#progress())) return false;
    }
    const head = this.#reader.takeNow(requestLength) ?? (await this.#nextHead());
    const request = head && decodeRequest(head);
    if (request === undefined || request.command === command.disconnect) return false;
    const bytes = heldBytes(request);
    if (bytes > blockSizes.max) {
      this.#replyError(request, errno.EINVAL);
      // The payload of a longer write is not read, so nothing behind it can be.
      return request.command !== command.write;
    }
    const room = this.#parts.budget.take(bytes);
    if (room !== undefined) await room;
    const isWrite = request.command === command.write;
    const payload = isWrite ? (this.#reader.takeNow(bytes) ?? (await this.#payload(bytes))) : undefined;
    if (isWrite && payload === undefined) {
      this.#parts.budget.release(bytes);
      return false;
    }
    if (this.#performNow(request, payload)) return true;
    const running = this.#perform(request, payload).finally(() => {
      this.#parts.budget.release(bytes);
      this.#running.delete(running);
      this.#onProgress?.();
    });
    this.#running.add(running);
    return true;
  }

  #nextHead(): Promise<Buffer | undefined> {
    this.#flush();
    return this.#reader.take(requestLength);
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
    this.#awaitClient();
    const payload = await this.#reader.take(length);
    this.#served();
    return payload;
  }

  /** Performs a read or write for which nothing has to be waited. @returns false: nothing was done */
  #performNow(request: Request, payload: Buffer | undefined): boolean {
    const { command: kind, offset, length, flags } = request;
    const { budget } = this.#parts;
    if (kind === command.write && payload !== undefined) {
      if ((flags & commandFlag.fua) !== 0 || !this.#export.writeNow(offset, payload)) return false;
      budget.release(length);
      this.#replyDone(request);
      return true;
    }
    if (kind !== command.read || length > pieceSize || length === 0) return false;
    const reply = this.#roomFor(length);
    if (!this.#export.readNow(offset, reply.bytes.subarray(this.#dataAt))) {
      reply.giveBack();
      return false;
    }
    this.#sendData(request, reply, offset, true, () => budget.release(length));
    return true;
  }

  async #perform(request: Request, payload: Buffer | undefined): Promise<void> {
    try {
      await this.#carryOut(request, payload);
    } catch (error) {
      if (!(error instanceof Rejection)) {
        const fields = { disk: this.#export.name, command: String(request.command), error: String(error) };
        this.#parts.logError('an NBD request failed', fields);
      }
      this.#replyError(request, errnoOf(error));
      if (endsConnection(error)) this.#finish();
    }
  }

  async #carryOut(request: Request, payload: Buffer | undefined): Promise<void> {
    const { offset, length } = request;
    switch (request.command) {
      case command.read:
        return this.#read(request);
      case command.write:
        return this.#change(request, () => this.#export.write(offset, payload ?? Buffer.alloc(0)));
      case command.flush:
        await this.#export.flush();
        return this.#replyDone(request);
      case command.trim:
        return this.#change(request, () => this.#export.discard(offset, length));
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
    const inChunks = this.#agreed.isStructured && (flags & commandFlag.df) === 0 && length > pieceSize;
    let reply: ReplyRoom | undefined;
    let at = offset;
    const parts: Parts = {
      bytesMax: pieceSize,
      allocate: (bytes) => {
        reply ??= this.#roomFor(inChunks ? bytes : length);
        const from = this.#dataAt + (inChunks ? 0 : at - offset);
        return reply.bytes.subarray(from, from + bytes);
      },
    };
    try {
      for await (const part of this.#export.read(offset, length, parts)) {
        if (inChunks && reply) await this.#dataTaken(request, reply, at, at + part.length === offset + length);
        if (inChunks) reply = undefined;
        at += part.length;
      }
      reply ??= inChunks ? undefined : this.#roomFor(length);
    } catch (error) {
      reply?.giveBack();
      throw error;
    }
    if (reply) await this.#dataTaken(request, reply, offset, true);
  }

  /** Memory for a reply with so much data. */
  #roomFor(length: number): ReplyRoom {
    return this.#parts.memory.take(this.#dataAt + length);
  }

  /** Resolves when the client took it: until then the request holds its memory. */
  #dataTaken(request: Request, reply: ReplyRoom, offset: number, isDone: boolean): Promise<void> {
    return new Promise((resolve) => this.#sendData(request, reply, offset, isDone, resolve));
  }

  /** @param onTaken called when the client took it */
  #sendData(
    { cookie }: Request,
    { bytes, giveBack }: ReplyRoom,
    offset: number,
    isDone: boolean,
    onTaken: () => void,
  ): void {
    if (this.#agreed.isStructured) {
      writeChunkHead(bytes, cookie, { type: chunkType.offsetData, isDone, length: bytes.length - chunkHeadLength });
      bytes.writeBigUInt64BE(BigInt(offset), chunkHeadLength);
    } else writeSimpleReply(bytes, cookie, 0);
    this.#awaitClient();
    this.#send(bytes, () => {
      this.#served();
      giveBack();
      onTaken();
    });
  }

  /** The client has to send or to take something. Without any progress for `stallMs` it is disconnected. One alarm for all of it. */
  #awaitClient(): void {
    this.#awaited += 1;
    if (this.#stallAlarm === undefined) this.#watch();
  }
  #served(): void {
    this.#awaited -= 1;
    this.#progressCount += 1;
  }
  #watch(): void {
    const before = this.#progressCount;
    this.#stallAlarm = this.#parts.clock.alarm(stallMs, () => {
      this.#stallAlarm = undefined;
      if (this.#awaited === 0 || this.#stream.destroyed) return;
      if (this.#progressCount === before) this.#stream.destroy();
      else this.#watch();
    });
  }

  /** A request that changes the disk. Access is checked again before the reply. */
  async #change(request: Request, work: () => Promise<void>): Promise<void> {
    await work();
    if ((request.flags & commandFlag.fua) !== 0) await this.#export.flush();
    await this.#export.confirm();
    this.#replyDone(request);
  }

  /** Zeros cost as much as data, so a request that must be fast is refused. */
  async #writeZeroes(request: Request): Promise<void> {
    const { flags, offset, length } = request;
    if ((flags & commandFlag.fastZero) !== 0) return this.#replyError(request, errno.ENOTSUP);
    await this.#change(request, async () => {
      const end = offset + length;
      const [first, last] = [Math.min(end, ceilSector(offset)), Math.max(offset, floorSector(end))];
      if ((flags & commandFlag.noHole) !== 0 || first >= last) return this.#writeZeros(offset, end);
      await this.#writeZeros(offset, first);
      await this.#export.discard(first, last - first);
      await this.#writeZeros(last, end);
    });
  }

  async #writeZeros(from: number, to: number): Promise<void> {
    for (let at = from; at < to; at += zeros.length) {
      await this.#export.write(at, zeros.subarray(0, Math.min(zeros.length, to - at)));
    }
  }

  async #blockStatus(request: Request): Promise<void> {
    const { offset, length, flags } = request;
    if (!this.#agreed.hasAllocation || length === 0) return this.#replyError(request, errno.EINVAL);
    const found = await this.#export.extents(offset, Math.min(length, statusBytesMax));
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

  /** Replies to requests that arrived together leave with one system call. */
  #send(bytes: Uint8Array, onTaken?: () => void): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) {
      onTaken?.();
      return;
    }
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      setImmediate(() => this.#flush());
    }
    this.#stream.write(bytes, onTaken);
  }

  #flush(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#stream.uncork();
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
