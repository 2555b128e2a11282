import type { Duplex } from 'node:stream';
import { Rejection } from '@interlock/event-store/rejection';
import type { Parts } from '../cipher/encrypted-disk.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import type { Budget } from './budget.ts';
import { endsConnection, errnoOf, type LogError } from './errors.ts';
import type { Export, ImmediateIo } from './export.ts';
import { type Agreed, blockSizes } from './negotiation.ts';
import type { Reader } from './reader.ts';
import { Replies, type RepliesParts, type ReplyData, stallMs } from './replies.ts';
import { command, commandFlag, decodeRequest, errno, type Request, requestLength } from './wire.ts';

/** Most requests of a connection in progress. */
const requestsMax = 128;
/** Most bytes that one block status looks through. A client calls again for the rest. */
const statusBytesMax = 32 * pieceSize;

/** Most requests, and about how many bytes, that are performed together: what a cipher transforms at once. */
const batchMax = { requests: 16, bytes: 64 * 1024 } as const;

/** A read or write that has arrived completely. */
interface Arrived extends ImmediateIo {
  readonly request: Request;
  readonly length: number;
  /** Of a read. */
  readonly reply?: ReplyData;
}

export interface TransmissionParts extends RepliesParts {
  readonly budget: Budget;
  readonly logError: LogError;
}

/** Requests of one connection. They run concurrently and are answered as they end. */
export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #stream: Duplex;
  readonly #reader: Reader;
  readonly #export: Export;
  readonly #agreed: Agreed;
  readonly #replies: Replies;
  readonly #running = new Set<Promise<void>>();
  /** Head of a request that has to wait. */
  #head: Buffer | undefined;
  #isOver = false;
  #onProgress: (() => void) | undefined;

  constructor(agreed: Agreed, parts: TransmissionParts) {
    this.#agreed = agreed;
    this.#stream = agreed.stream;
    this.#reader = agreed.reader;
    this.#export = agreed.opened;
    this.#parts = parts;
    this.#replies = new Replies(agreed.stream, agreed.isStructured, parts);
  }

  /** Serves until the client leaves or the access ends. Resolves when no request is in progress. */
  async run(): Promise<void> {
    const end = (): void => this.#finish();
    const signal = this.#export.ending;
    signal.addEventListener('abort', end, { once: true });
    try {
      while (!this.#isOver && (this.#serveArrived() || (await this.#serveNext())));
      await Promise.all(this.#running);
    } finally {
      signal.removeEventListener('abort', end);
      this.#finish();
      this.#replies.close();
      this.#export.release();
    }
  }

  /** Serves reads and writes that have arrived, together. @returns false if each of them has to wait */
  #serveArrived(): boolean {
    if (this.#mustWait() || this.#head !== undefined) return false;
    const batch: Arrived[] = [];
    for (
      let bytes = 0;
      batch.length < batchMax.requests && bytes < batchMax.bytes;
      bytes += batch.at(-1)?.length ?? 0
    ) {
      const head = this.#reader.takeNow(requestLength);
      const arrived = head && this.#arrived(head);
      if (arrived === undefined) {
        this.#head = head;
        break;
      }
      batch.push(arrived);
    }
    if (batch.length === 0) return false;
    if (this.#export.performNow(batch)) for (const one of batch) this.#answer(one);
    else {
      for (const { request, reply, bytes } of batch) {
        reply?.giveBack();
        this.#start(request, reply ? undefined : bytes);
      }
    }
    return true;
  }

  /** A whole read or write, with the memory it needs; undefined if something has to be waited for. */
  #arrived(head: Buffer): Arrived | undefined {
    const request = decodeRequest(head);
    if (request === undefined || request.length === 0 || request.length > pieceSize) return undefined;
    const { command: kind, offset, length, flags } = request;
    const isWrite = kind === command.write && (flags & commandFlag.fua) === 0;
    if (!(isWrite || kind === command.read) || !this.#parts.budget.tryTake(length)) return undefined;
    if (!isWrite) {
      const reply = this.#replies.room(length);
      return { request, kind: 'read', offset, length, bytes: reply.data, reply };
    }
    const bytes = this.#reader.takeNow(length);
    if (bytes !== undefined) return { request, kind: 'write', offset, length, bytes };
    this.#parts.budget.release(length);
    return undefined;
  }

  #answer({ request, length, offset, reply }: Arrived): void {
    const release = (): void => this.#parts.budget.release(length);
    if (reply) this.#replies.data(request, reply, { offset, isDone: true }, release);
    else {
      release();
      this.#replies.done(request);
    }
  }

  #mustWait(): boolean {
    return this.#running.size >= requestsMax || this.#stream.writableNeedDrain;
  }

  /** @returns false at the end of the connection */
  async #serveNext(): Promise<boolean> {
    while (this.#mustWait()) if (!(await this.#progress())) return false;
    const head = this.#head ?? (await this.#nextHead());
    this.#head = undefined;
    const request = head && decodeRequest(head);
    if (request === undefined || request.command === command.disconnect) return false;
    const bytes = heldBytes(request);
    if (bytes > blockSizes.max) {
      this.#replies.error(request, errno.EINVAL);
      // The payload of a longer write is not read, so nothing behind it can be.
      return request.command !== command.write;
    }
    await this.#parts.budget.take(bytes);
    const payload = request.command === command.write ? await this.#payload(bytes) : undefined;
    if (request.command === command.write && payload === undefined) {
      this.#parts.budget.release(bytes);
      return false;
    }
    this.#start(request, payload);
    return true;
  }

  /** Performs a request that may have to wait. Its bytes of the budget are taken. */
  #start(request: Request, payload: Uint8Array | undefined): void {
    const running = this.#perform(request, payload).finally(() => {
      this.#parts.budget.release(heldBytes(request));
      this.#running.delete(running);
      this.#onProgress?.();
    });
    this.#running.add(running);
  }

  #nextHead(): Promise<Buffer | undefined> {
    this.#replies.flush();
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
    this.#replies.await();
    const payload = await this.#reader.take(length);
    this.#replies.arrived();
    return payload;
  }

  async #perform(request: Request, payload: Uint8Array | undefined): Promise<void> {
    try {
      await this.#carryOut(request, payload);
    } catch (error) {
      if (!(error instanceof Rejection)) {
        const fields = { disk: this.#export.name, command: String(request.command), error: String(error) };
        this.#parts.logError('an NBD request failed', fields);
      }
      this.#replies.error(request, errnoOf(error));
      if (endsConnection(error)) this.#finish();
    }
  }

  async #carryOut(request: Request, payload: Uint8Array | undefined): Promise<void> {
    const { offset, length } = request;
    switch (request.command) {
      case command.read:
        return this.#read(request);
      case command.write:
        return this.#change(request, () => this.#export.write(offset, payload ?? Buffer.alloc(0)));
      case command.flush:
        await this.#export.flush();
        return this.#replies.done(request);
      case command.trim:
        return this.#change(request, () => this.#export.discard(offset, length));
      case command.writeZeroes:
        return this.#writeZeroes(request);
      case command.blockStatus:
        return this.#blockStatus(request);
      default:
        return this.#replies.error(request, errno.EINVAL);
    }
  }

  /** Whole pieces, each as a chunk of its own if replies are structured. */
  async #read(request: Request): Promise<void> {
    const { offset, length, flags } = request;
    const inChunks = this.#agreed.isStructured && (flags & commandFlag.df) === 0 && length > pieceSize;
    let reply: ReplyData | undefined;
    let at = offset;
    const parts: Parts = {
      bytesMax: pieceSize,
      allocate: (bytes) => {
        reply ??= this.#replies.room(inChunks ? bytes : length);
        const from = inChunks ? 0 : at - offset;
        return reply.data.subarray(from, from + bytes);
      },
    };
    try {
      for await (const part of this.#export.read(offset, length, parts)) {
        if (inChunks && reply)
          await this.#replies.dataTaken(request, reply, { offset: at, isDone: at + part.length === offset + length });
        if (inChunks) reply = undefined;
        at += part.length;
      }
      reply ??= inChunks ? undefined : this.#replies.room(length);
    } catch (error) {
      reply?.giveBack();
      throw error;
    }
    if (reply) await this.#replies.dataTaken(request, reply, { offset, isDone: true });
  }

  /** A request that changes the disk. Access is checked again before the reply. */
  async #change(request: Request, work: () => Promise<void>): Promise<void> {
    await work();
    if ((request.flags & commandFlag.fua) !== 0) await this.#export.flush();
    await this.#export.confirm();
    this.#replies.done(request);
  }

  /** Zeros cost as much as data, so a request that must be fast is refused. */
  async #writeZeroes(request: Request): Promise<void> {
    const { flags, offset, length } = request;
    if ((flags & commandFlag.fastZero) !== 0) return this.#replies.error(request, errno.ENOTSUP);
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
    if (!this.#agreed.hasAllocation || length === 0) return this.#replies.error(request, errno.EINVAL);
    const found = await this.#export.extents(offset, Math.min(length, statusBytesMax));
    const extents = (flags & commandFlag.reqOne) === 0 ? found : found.slice(0, 1);
    this.#replies.extents(request, extents);
  }

  /** Ends the connection once all sent bytes have left. */
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
