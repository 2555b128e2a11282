import { pieceSize, sectorSize } from '../storage/sector.ts';
import { ownBytes, type Share } from './budget.ts';
import type { Export } from './export.ts';
import type { Agreed } from './negotiation.ts';
import type { Replies } from './replies.ts';
import type { ReplyMemory } from './reply-memory.ts';
import { command, commandFlag, errno, type Request } from './wire.ts';

/** Most bytes that one block status looks through. A client calls again for the rest. */
const statusBytesMax = 32 * pieceSize;

export interface RequestsParts {
  readonly agreed: Agreed;
  readonly replies: Replies;
  readonly share: Share;
  readonly memory: ReplyMemory;
}

/** The requests of one connection that are not performed at once. Long ones are cut into steps, and other connections are served in between. */
export class Requests {
  readonly #parts: RequestsParts;
  readonly #export: Export;
  #lastTurn: Promise<void> = Promise.resolve();

  constructor(parts: RequestsParts) {
    this.#parts = parts;
    this.#export = parts.agreed.opened;
  }

  /** Performs a request that has no payload. @throws as `Export` */
  async carryOut(request: Request): Promise<void> {
    const { replies } = this.#parts;
    const { offset, length } = request;
    switch (request.command) {
      case command.read:
        return this.#read(request);
      case command.flush:
        await this.#export.flush();
        return replies.done(request);
      case command.trim:
        return this.change(request, () => this.#export.discard(offset, length));
      case command.writeZeroes:
        return this.#writeZeroes(request);
      case command.blockStatus:
        return this.#blockStatus(request);
      default:
        return replies.error(request, errno.EINVAL);
    }
  }

  /** Whether the reply to a read must be one part that does not fit into the memory of the connection: nothing may be sent in between. */
  isInOnePart({ command: kind, flags, length }: Request): boolean {
    const isStructured = this.#parts.agreed.isStructured && (flags & commandFlag.df) === 0;
    return kind === command.read && !isStructured && length > ownBytes;
  }

  /** Such a read. A refusal before the first bytes is an error; one after them can only end the connection, which the caller does. */
  async readInOnePart(request: Request): Promise<'done' | 'broken off'> {
    const { replies, share, memory } = this.#parts;
    const end = request.offset + request.length;
    if (this.isBeyondEnd(request)) {
      replies.error(request, errno.EINVAL);
      return 'done';
    }
    for (let at = request.offset; at < end; ) {
      if (!(await this.#turn())) return 'broken off';
      const length = await this.#step(at, end);
      const { bytes, release } = memory.take(length);
      try {
        await this.#fill(at, bytes);
        if (at === request.offset) replies.begin(request);
        await replies.dataPart(bytes);
      } catch (error) {
        if (at === request.offset) throw error;
        return 'broken off';
      } finally {
        release();
        share.release(length);
      }
      at += length;
    }
    return 'done';
  }

  /**
   * Receives the payload of a write in steps, and writes each of them: what a client only announces takes no memory.
   * @returns the writes; undefined if the connection ended before all bytes arrived
   */
  async receive(request: Request): Promise<readonly Promise<void>[] | undefined> {
    const { agreed, share, memory } = this.#parts;
    const isRefused = this.isBeyondEnd(request);
    // The payload of a refused write is only dropped. Sums with an offset above 2^53 would not be exact.
    const begin = isRefused ? 0 : request.offset;
    const end = begin + request.length;
    const writes: Promise<void>[] = [];
    for (let at = begin; at < end; ) {
      if (!(await this.#awaited(agreed.reader.arriving()))) break;
      const length = await this.#step(at, end);
      const { bytes, release } = memory.take(length);
      const done = (): void => {
        release();
        share.release(length);
      };
      const isWhole = await this.#awaited(agreed.reader.pass(length, (part, from) => bytes.set(part, from)));
      if (isWhole && !isRefused) writes.push(this.#export.write(at, bytes).finally(done));
      else done();
      if (!isWhole) break;
      at += length;
      // Its error is the answer to the request, after all bytes have arrived.
      writes.at(-1)?.catch(() => undefined);
      if (at === end) return writes;
    }
    await Promise.allSettled(writes);
    return request.length === 0 ? writes : undefined;
  }

  /** The rest of a write whose payload has arrived. */
  async finish(request: Request, writes: readonly Promise<void>[]): Promise<void> {
    if (this.isBeyondEnd(request)) return this.#parts.replies.error(request, errno.EINVAL);
    await this.change(request, async () => {
      await Promise.allSettled(writes);
      await Promise.all(writes);
    });
  }

  /** A request that changes the disk. Access is checked again before the reply. */
  async change(request: Request, work: () => Promise<void>): Promise<void> {
    await work();
    if ((request.flags & commandFlag.fua) !== 0) await this.#export.flush();
    await this.#export.confirm();
    this.#parts.replies.done(request);
  }

  /** One part of the reply to a read, or all of it. The caller has taken its memory. */
  async readPart(request: Request, { at, length }: { readonly at: number; readonly length: number }): Promise<void> {
    const { replies } = this.#parts;
    const reply = replies.room(length);
    try {
      await this.#fill(at, reply.data);
    } catch (error) {
      reply.release();
      throw error;
    }
    await replies.dataTaken(request, reply, { offset: at, isDone: at + length === request.offset + request.length });
  }

  isBeyondEnd({ offset, length }: Request): boolean {
    return offset + length > this.#export.size();
  }

  /** Each step is a chunk of its own if replies are structured; otherwise there is one step. */
  async #read(request: Request): Promise<void> {
    const { replies, share, agreed } = this.#parts;
    const { offset, flags } = request;
    const end = offset + request.length;
    if (this.isBeyondEnd(request)) return replies.error(request, errno.EINVAL);
    if (request.length === 0) return replies.done(request);
    const isCut = agreed.isStructured && (flags & commandFlag.df) === 0;
    for (let at = offset; at < end; ) {
      if (request.length > ownBytes && !(await this.#turn())) return;
      if (!isCut) await share.take(request.length);
      const length = isCut ? await this.#step(at, end) : request.length;
      await this.readPart(request, { at, length }).finally(() => share.release(length));
      at += length;
    }
  }

  /**
   * Long requests of a connection take turns, one step at a time, and all other connections are served in between. Otherwise a client
   * with many long requests would occupy the thread for seconds. @returns false if the client has left: nothing is left to do
   */
  async #turn(): Promise<boolean> {
    this.#lastTurn = this.#lastTurn.then(() => others());
    await this.#lastTurn;
    return !this.#parts.agreed.stream.destroyed;
  }

  async #fill(offset: number, bytes: Buffer): Promise<void> {
    let done = 0;
    const allocate = (length: number): Uint8Array => bytes.subarray(done, done + length);
    const parts = this.#export.read(offset, bytes.length, { bytesMax: pieceSize, allocate });
    for await (const part of parts) done += part.length;
    // The rest of the memory holds what others read.
    if (done !== bytes.length) throw new Error(`a read at ${offset} returned ${done} of ${bytes.length} bytes`);
  }

  /** Takes memory for the next bytes of a long request: a piece if the host has so much, otherwise what the connection has for itself. */
  async #step(at: number, end: number): Promise<number> {
    const { share } = this.#parts;
    const piece = Math.min(end, ceil(at + 1, pieceSize)) - at;
    if (share.tryTake(piece)) return piece;
    const length = Math.min(end, ceil(at + 1, ownBytes)) - at;
    await share.take(length);
    return length;
  }

  /** Zeros cost as much as data, so a request that must be fast is refused. */
  async #writeZeroes(request: Request): Promise<void> {
    const { flags, offset, length } = request;
    const { replies } = this.#parts;
    if ((flags & commandFlag.fastZero) !== 0) return replies.error(request, errno.ENOTSUP);
    if (this.isBeyondEnd(request)) return replies.error(request, errno.EINVAL);
    await this.change(request, async () => {
      const end = offset + length;
      const [first, last] = [Math.min(end, ceil(offset, sectorSize)), Math.max(offset, floor(end, sectorSize))];
      if ((flags & commandFlag.noHole) !== 0 || first >= last) return this.#writeZeros(offset, end);
      await this.#writeZeros(offset, first);
      await this.#export.discard(first, last - first);
      await this.#writeZeros(last, end);
    });
  }

  /** Other connections are served between the steps: 28 bytes may call for 4 GiB of zeros. Those that wait hold memory as data does. */
  async #writeZeros(from: number, to: number): Promise<void> {
    for (let at = from; at < to && (await this.#turn()); ) {
      const length = await this.#step(at, to);
      await this.#export.write(at, zeros.subarray(0, length)).finally(() => this.#parts.share.release(length));
      at += length;
    }
  }

  /** What it finds takes memory as the reply to a read does. */
  async #blockStatus(request: Request): Promise<void> {
    const { agreed, replies, share } = this.#parts;
    const { offset, length, flags } = request;
    if (!agreed.hasAllocation || length === 0) return replies.error(request, errno.EINVAL);
    await share.take(ownBytes);
    try {
      const found = await this.#export.extents(offset, Math.min(length, statusBytesMax));
      const extents = (flags & commandFlag.reqOne) === 0 ? found : found.slice(0, 1);
      await replies.extents(request, extents);
    } finally {
      share.release(ownBytes);
    }
  }

  /** Waits for bytes of a client, which has a deadline for them. */
  async #awaited(arrival: Promise<boolean>): Promise<boolean> {
    this.#parts.replies.await();
    try {
      return await arrival;
    } finally {
      this.#parts.replies.arrived();
    }
  }
}

/** Resolves when other connections were served. */
const others = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const zeros = new Uint8Array(pieceSize);
const floor = (offset: number, size: number): number => Math.floor(offset / size) * size;
const ceil = (offset: number, size: number): number => Math.ceil(offset / size) * size;
