import type { Duplex } from 'node:stream';
import { Rejection } from '@interlock/event-store/rejection';
import { pieceSize } from '../storage/sector.ts';
import type { Share } from './budget.ts';
import { ended, stallMs } from './ending.ts';
import { endsConnection, errnoOf, type LogError } from './errors.ts';
import type { Export, ImmediateIo } from './export.ts';
import { type Agreed, blockSizes } from './negotiation.ts';
import type { Reader } from './reader.ts';
import { Replies, type RepliesParts, type ReplyData } from './replies.ts';
import { Requests } from './requests.ts';
import { command, commandFlag, decodeRequest, errno, type Request, requestLength } from './wire.ts';

/** Most requests of a connection in progress. */
const requestsMax = 128;

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
  readonly share: Share;
  readonly logError: LogError;
}

/** Requests of one connection. They run concurrently and are answered as they end. */
export class Transmission {
  readonly #parts: TransmissionParts;
  readonly #stream: Duplex;
  readonly #reader: Reader;
  readonly #export: Export;
  readonly #requests: Requests;
  readonly #replies: Replies;
  readonly #running = new Set<Promise<void>>();
  /** Head of a request that has to wait. */
  #head: Buffer | undefined;
  #isOver = false;
  #onProgress: (() => void) | undefined;

  constructor(agreed: Agreed, parts: TransmissionParts) {
    this.#stream = agreed.stream;
    this.#reader = agreed.reader;
    this.#export = agreed.opened;
    this.#parts = parts;
    this.#replies = new Replies(agreed.stream, agreed.isStructured, parts, () => this.#onProgress?.());
    this.#requests = new Requests({ agreed, replies: this.#replies, share: parts.share, memory: parts.memory });
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
    else for (const one of batch) this.#startArrived(one);
    return true;
  }

  /** A whole read or write, with the memory it needs; undefined if something has to be waited for. */
  #arrived(head: Buffer): Arrived | undefined {
    const request = decodeRequest(head);
    if (request === undefined || request.length === 0 || request.length > pieceSize) return undefined;
    if (this.#requests.isBeyondEnd(request)) return undefined;
    const { command: kind, offset, length, flags } = request;
    const isWrite = kind === command.write && (flags & commandFlag.fua) === 0;
    if (!(isWrite || kind === command.read) || !this.#parts.share.tryTake(length)) return undefined;
    if (!isWrite) {
      const reply = this.#replies.room(length);
      return { request, kind: 'read', offset, length, bytes: reply.data, reply };
    }
    const bytes = this.#reader.takeNow(length);
    if (bytes !== undefined) return { request, kind: 'write', offset, length, bytes };
    this.#parts.share.release(length);
    return undefined;
  }

  #answer({ request, length, offset, reply }: Arrived): void {
    const release = (): void => this.#parts.share.release(length);
    if (reply) this.#replies.data(request, reply, { offset, isDone: true }, release);
    else {
      release();
      this.#replies.done(request);
    }
  }

  #mustWait(): boolean {
    return this.#running.size >= requestsMax || this.#replies.isFull;
  }

  /** @returns false at the end of the connection */
  async #serveNext(): Promise<boolean> {
    while (this.#mustWait()) if (!(await this.#progress())) return false;
    const head = this.#head ?? (await this.#nextHead());
    this.#head = undefined;
    const request = head && decodeRequest(head);
    if (request === undefined || request.command === command.disconnect) return false;
    const { command: kind, length } = request;
    if ((kind === command.read || kind === command.write) && length > blockSizes.max) {
      this.#replies.error(request, errno.EINVAL);
      // The payload of a longer write is not read, so nothing behind it can be.
      return kind !== command.write;
    }
    if (kind === command.write) {
      const writes = await this.#requests.receive(request);
      if (writes !== undefined) this.#start(request, () => this.#requests.finish(request, writes));
      return writes !== undefined;
    }
    if (this.#requests.isInOnePart(request)) return this.#readInOnePart(request);
    this.#start(request, () => this.#requests.carryOut(request));
    return true;
  }

  /** Performs a read or write of a batch that has to wait. Its memory is taken. */
  #startArrived({ request, reply, length, offset, bytes }: Arrived): void {
    reply?.release();
    const requests = this.#requests;
    const work = (): Promise<void> =>
      reply
        ? requests.readPart(request, { at: offset, length })
        : requests.change(request, () => this.#export.write(offset, bytes));
    this.#start(request, () => work().finally(() => this.#parts.share.release(length)));
  }

  /** Nothing may be sent in between, so it waits for the requests before it. @returns false at the end of the connection */
  async #readInOnePart(request: Request): Promise<boolean> {
    await Promise.all(this.#running);
    let outcome: string | undefined;
    await this.#perform(request, async () => {
      outcome = await this.#requests.readInOnePart(request);
    });
    // The client waits for the rest of the data: the end of the connection is the only error that it can receive now.
    if (outcome === 'broken off') this.#stream.destroy();
    return outcome !== 'broken off';
  }

  /** Performs a request that may have to wait. */
  #start(request: Request, work: () => Promise<void>): void {
    const running = this.#perform(request, work).finally(() => {
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
    const stalled = this.#parts.clock.alarm(stallMs, () => {
      if (this.#running.size === 0) this.#stream.destroy();
      wake();
    });
    this.#stream.once('drain', wake).once('close', wake);
    try {
      return await promise;
    } finally {
      stalled.cancel();
      this.#stream.off('drain', wake).off('close', wake);
      this.#onProgress = undefined;
    }
  }

  async #perform(request: Request, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Rejection)) {
        const fields = { disk: this.#export.name, command: String(request.command), error: String(error) };
        this.#parts.logError('an NBD request failed', fields);
      }
      this.#replies.error(request, errnoOf(error));
      if (endsConnection(error)) this.#finish();
    }
  }

  /** Ends the connection once all sent bytes have left. */
  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onProgress?.();
    // Replies to requests that end now are still sent.
    setImmediate(() => void ended(this.#stream, this.#parts.clock));
  }
}
