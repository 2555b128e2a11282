import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { Reader } from './reader.ts';
import { chunkFlagDone, chunkHeadLength, chunkType, command, option, optionMagic, optionReply } from './wire.ts';

/** Reply to a request. */
export interface Reply {
  /** 0: done. */
  readonly code: number;
  readonly data: Buffer;
  /** Extents of a block status: lengths and states. */
  readonly extents: readonly (readonly [length: number, state: number])[];
}

export interface OptionReply {
  readonly kind: number;
  readonly data: Buffer;
}

const simpleMagic = 0x6744_6698;
const requestHead = (flags: number, kind: number, cookie: number, offset: number, length: number): Buffer => {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(0x2560_9513, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(kind, 6);
  head.writeUInt32BE(cookie, 12);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(length, 24);
  return head;
};

const counted = (text: string): Buffer => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

/** A client of the NBD protocol, one request at a time. It speaks the protocol by its document, not by the code under test. */
export class TestNbdClient {
  readonly stream: Duplex;
  readonly #reader: Reader;
  #cookie = 0;
  #isStructured = false;

  constructor(stream: Duplex) {
    this.stream = stream;
    this.#reader = new Reader(stream);
    stream.on('error', () => undefined);
  }

  /** Exchanges the greeting. */
  async greet(flags = 3): Promise<this> {
    const greeting = await this.take(18);
    assert.equal(greeting.toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(flags);
    this.stream.write(bytes);
    return this;
  }

  async option(code: number, data: Uint8Array = new Uint8Array()): Promise<readonly OptionReply[]> {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(optionMagic);
    head.writeUInt32BE(code, 8);
    head.writeUInt32BE(data.length, 12);
    this.stream.write(Buffer.concat([head, data]));
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = await this.take(20);
      assert.equal(reply.readUInt32BE(8), code);
      const kind = reply.readUInt32BE(12);
      replies.push({ kind, data: await this.take(reply.readUInt32BE(16)) });
      if (kind === optionReply.ack || kind >= 2 ** 31) return replies;
    }
  }

  /** Structured replies and `base:allocation`. */
  async structured(exportName: string): Promise<this> {
    assert.deepEqual(
      (await this.option(option.structuredReply)).map(({ kind }) => kind),
      [optionReply.ack],
    );
    this.#isStructured = true;
    const count = Buffer.from([0, 0, 0, 1]);
    const query = Buffer.concat([counted(exportName), count, counted('base:allocation')]);
    const replies = await this.option(option.setMetaContext, query);
    assert.deepEqual(
      replies.map(({ kind }) => kind),
      [optionReply.metaContext, optionReply.ack],
    );
    return this;
  }

  /** Starts transmission. @returns the last reply of the negotiation */
  async go(exportName: string): Promise<OptionReply> {
    const replies = await this.option(option.go, Buffer.concat([counted(exportName), Buffer.from([0, 0])]));
    return replies.at(-1) ?? assert.fail('no reply');
  }

  async request(
    kind: number,
    offset: number,
    length: number,
    { flags = 0, payload }: { readonly flags?: number; readonly payload?: Uint8Array } = {},
  ): Promise<Reply> {
    this.send(kind, offset, length, { flags, ...(payload && { payload }) });
    return this.reply(kind === command.read ? length : 0);
  }

  send(
    kind: number,
    offset: number,
    length: number,
    { flags = 0, payload }: { readonly flags?: number; readonly payload?: Uint8Array } = {},
  ): void {
    this.#cookie += 1;
    this.stream.write(requestHead(flags, kind, this.#cookie, offset, length));
    if (payload) this.stream.write(payload);
  }

  /** @param dataLength of a simple reply to a read */
  async reply(dataLength: number): Promise<Reply> {
    const head = await this.take(16);
    if (head.readUInt32BE(0) === simpleMagic) {
      const code = head.readUInt32BE(4);
      return { code, data: await this.take(code === 0 && !this.#isStructured ? dataLength : 0), extents: [] };
    }
    const found = { code: 0, data: [] as Buffer[], extents: [] as [number, number][] };
    for (let chunk = head; ; chunk = await this.take(16)) {
      const length = (await this.take(chunkHeadLength - 16)).readUInt32BE(0);
      const content = await this.take(length);
      const type = chunk.readUInt16BE(6);
      if (type === chunkType.offsetData) found.data.push(content.subarray(8));
      else if (type === chunkType.error) found.code = content.readUInt32BE(0);
      else if (type === chunkType.blockStatus) {
        for (let at = 4; at < length; at += 8) {
          found.extents.push([content.readUInt32BE(at), content.readUInt32BE(at + 4)]);
        }
      }
      if ((chunk.readUInt16BE(4) & chunkFlagDone) !== 0) return { ...found, data: Buffer.concat(found.data) };
    }
  }

  read(offset: number, length: number): Promise<Reply> {
    return this.request(command.read, offset, length);
  }

  write(offset: number, payload: Uint8Array, flags = 0): Promise<Reply> {
    return this.request(command.write, offset, payload.length, { flags, payload });
  }

  /** @throws AssertionError if the connection ended */
  async take(length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    const isWhole = await this.#reader.pass(length, (part, at) => bytes.set(part, at));
    return isWhole ? bytes : assert.fail('the connection ended');
  }

  /** Leaves the stream to another reader. */
  release(): void {
    this.#reader.release();
  }

  /** Resolves when the server has ended the connection. */
  async ended(): Promise<void> {
    while ((await this.#reader.take(1)) !== undefined);
  }
}
