import type { Duplex } from 'node:stream';
import { Rejection } from '@interlock/event-store/rejection';
import { names } from '@interlock/rpc/resource-name';
import { type Admission, connectionsPerDiskMax } from './admission.ts';
import type { Export, Exports } from './export.ts';
import { Reader } from './reader.ts';
import {
  allocationContext,
  allocationContextId,
  encodeOptionReply,
  greeting,
  handshakeFlag,
  infoType,
  option,
  optionHeadLength,
  optionMagic,
  optionReply,
  transmissionFlag,
} from './wire.ts';

/** Most bytes of the data of an option: an export name has at most 4,096 (NBD protocol). */
const optionDataMax = 8_192;
/** Most options of one negotiation: far above what clients send. */
const optionsMax = 64;

/** Smallest, best and largest request in bytes. Smaller writes than 4 KiB cost a read of the sector. */
export const blockSizes = { min: 512, preferred: 4_096, max: 32 * 1024 * 1024 } as const;

/** What a client and this server agreed on. */
export interface Agreed {
  readonly stream: Duplex;
  readonly reader: Reader;
  /** Counted by `admission`; to be released. */
  readonly opened: Export;
  readonly isStructured: boolean;
  /** Whether block status of `base:allocation` may be requested. */
  readonly hasAllocation: boolean;
}

/** How a negotiation ended. */
export interface Negotiated {
  /** Undefined if the client left or sent what is no option. */
  readonly agreed: Agreed | undefined;
  /** The connection, which may be in TLS now, and its reader. */
  readonly stream: Duplex;
  readonly reader: Reader;
}

export interface NegotiationParts {
  readonly exports: Exports;
  readonly admission: Pick<Admission, 'openDisk' | 'closeDisk'>;
  /** Wraps the stream in TLS. Undefined on a Unix socket; on TCP every option but STARTTLS is refused before it. */
  readonly startTls: (() => Promise<Duplex>) | undefined;
  /** Called with each option that arrived. */
  readonly onOption: () => void;
}

/** `<disk>@<access token>`, as an export name. */
export const exportNameOf = (disk: string, token: string): string => `${disk}@${token}`;

/** Fixed newstyle negotiation up to the transmission phase. The export name is a disk with its access token. */
export const negotiate = async (stream: Duplex, parts: NegotiationParts): Promise<Negotiated> => {
  stream.write(greeting());
  const reader = new Reader(stream);
  const flags = await reader.take(4);
  const known = handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes;
  const asked = flags?.readUInt32BE(0) ?? 0;
  if ((asked & ~known) !== 0 || (asked & handshakeFlag.fixedNewstyle) === 0) {
    return { agreed: undefined, stream, reader };
  }
  return new Negotiation(stream, reader, parts, (asked & handshakeFlag.noZeroes) !== 0).run();
};

interface Option {
  readonly code: number;
  readonly data: Buffer;
}

class Negotiation {
  readonly #parts: NegotiationParts;
  readonly #hasNoZeroes: boolean;
  #stream: Duplex;
  #reader: Reader;
  #isPlain: boolean;
  #isStructured = false;
  /** Export name for which the client selected `base:allocation`. */
  #allocationOf: string | undefined;

  constructor(stream: Duplex, reader: Reader, parts: NegotiationParts, hasNoZeroes: boolean) {
    this.#stream = stream;
    this.#reader = reader;
    this.#parts = parts;
    this.#isPlain = parts.startTls !== undefined;
    this.#hasNoZeroes = hasNoZeroes;
  }

  async run(): Promise<Negotiated> {
    const agreed = await this.#haggle();
    return { agreed, stream: this.#stream, reader: this.#reader };
  }

  async #haggle(): Promise<Agreed | undefined> {
    for (let count = 0; count < optionsMax; count += 1) {
      const next = await this.#next();
      if (next === undefined) return undefined;
      if (next === 'too big') continue;
      const outcome = await this.#answer(next);
      if (outcome !== undefined) return outcome === 'over' ? undefined : outcome;
    }
    return undefined;
  }

  /** The next option. One that is too big is refused, and its data dropped. */
  async #next(): Promise<Option | 'too big' | undefined> {
    await this.#taken();
    const head = await this.#reader.take(optionHeadLength);
    if (head === undefined || head.readBigUInt64BE(0) !== optionMagic) return undefined;
    this.#parts.onOption();
    const [code, length] = [head.readUInt32BE(8), head.readUInt32BE(12)];
    if (length > optionDataMax) {
      if (length > 16 * optionDataMax) return undefined;
      if (!(await this.#reader.pass(length, () => undefined))) return undefined;
      this.#refuse(code, optionReply.tooBig, `an option has at most ${optionDataMax} bytes (got ${length})`);
      return 'too big';
    }
    const data = await this.#reader.take(length);
    return data && { code, data };
  }

  async #answer(asked: Option): Promise<Agreed | 'over' | undefined> {
    const { code, data } = asked;
    if (code === option.abort) {
      this.#reply(code, optionReply.ack);
      return 'over';
    }
    if (this.#isPlain && code !== option.startTls) {
      // EXPORT_NAME has no way to refuse.
      if (code === option.exportName) return 'over';
      this.#refuse(code, optionReply.tlsRequired, 'use STARTTLS first');
      return undefined;
    }
    switch (code) {
      case option.startTls:
        return this.#startTls(asked);
      case option.exportName:
        return this.#exportName(data.toString('utf8'));
      case option.info:
      case option.go:
        return this.#info(asked);
      case option.list:
        await this.#list(asked);
        return undefined;
      case option.structuredReply:
        if (data.length > 0) this.#refuse(code, optionReply.invalid, 'STRUCTURED_REPLY has no data');
        else {
          this.#isStructured = true;
          this.#reply(code, optionReply.ack);
        }
        return undefined;
      case option.listMetaContext:
      case option.setMetaContext:
        this.#metaContext(asked);
        return undefined;
      default:
        this.#refuse(code, optionReply.unsupported, `option ${code} is not supported`);
        return undefined;
    }
  }

  async #startTls({ code, data }: Option): Promise<'over' | undefined> {
    const { startTls } = this.#parts;
    if (startTls === undefined || !this.#isPlain || data.length > 0) {
      this.#refuse(code, optionReply.invalid, 'TLS is for TCP, once, and STARTTLS has no data');
      return undefined;
    }
    this.#reply(code, optionReply.ack);
    this.#reader.release();
    try {
      this.#stream = await startTls();
    } catch {
      // The client showed no certificate of a trusted authority, or left.
      return 'over';
    }
    this.#reader = new Reader(this.#stream);
    this.#isPlain = false;
    this.#isStructured = false;
    this.#allocationOf = undefined;
    return undefined;
  }

  async #exportName(name: string): Promise<Agreed | 'over'> {
    const opened = await this.#open(name);
    if (opened instanceof Error) return 'over';
    this.#stream.write(Buffer.concat([sizeAndFlags(opened), Buffer.alloc(this.#hasNoZeroes ? 0 : 124)]));
    return this.#agreed(opened, name);
  }

  async #info({ code, data }: Option): Promise<Agreed | undefined> {
    const name = exportNameIn(data);
    if (name === undefined) {
      this.#refuse(code, optionReply.invalid, 'the data is no export name with a list of requests');
      return undefined;
    }
    const opened = await this.#open(name);
    if (opened instanceof Error) {
      this.#refuse(code, opened.isKnown ? optionReply.policy : optionReply.unknown, opened.message);
      return undefined;
    }
    this.#reply(code, optionReply.info, Buffer.concat([u16(infoType.export), sizeAndFlags(opened)]));
    const { min, preferred, max } = blockSizes;
    this.#reply(code, optionReply.info, Buffer.concat([u16(infoType.blockSize), u32(min), u32(preferred), u32(max)]));
    this.#reply(code, optionReply.ack);
    if (code === option.go) return this.#agreed(opened, name);
    opened.release();
    this.#parts.admission.closeDisk(opened.name);
    return undefined;
  }

  /** Disks that are open on this host, without their tokens. */
  async #list({ code, data }: Option): Promise<void> {
    if (data.length > 0) {
      this.#refuse(code, optionReply.invalid, 'LIST has no data');
      return;
    }
    for (const disk of await this.#parts.exports.names()) {
      const name = Buffer.from(disk);
      this.#reply(code, optionReply.server, Buffer.concat([u32(name.length), name]));
      await this.#taken();
    }
    this.#reply(code, optionReply.ack);
  }

  #metaContext({ code, data }: Option): void {
    const asked = metaContextsIn(data);
    if (asked === undefined || (code === option.setMetaContext && !this.#isStructured)) {
      this.#refuse(
        code,
        optionReply.invalid,
        'negotiate structured replies first; data is an export name and a list of contexts',
      );
      return;
    }
    const { exportName, queries } = asked;
    const isList = code === option.listMetaContext;
    const isWanted =
      (isList && queries.length === 0) ||
      queries.some((query) => query === allocationContext || (isList && query === 'base:'));
    if (!isList) this.#allocationOf = isWanted ? exportName : undefined;
    if (isWanted) {
      const id = u32(isList ? 0 : allocationContextId);
      this.#reply(code, optionReply.metaContext, Buffer.concat([id, Buffer.from(allocationContext)]));
    }
    this.#reply(code, optionReply.ack);
  }

  #agreed(opened: Export, name: string): Agreed {
    return {
      stream: this.#stream,
      reader: this.#reader,
      opened,
      isStructured: this.#isStructured,
      hasAllocation: this.#allocationOf === name,
    };
  }

  async #open(exportName: string): Promise<Export | ExportRefused> {
    const at = exportName.lastIndexOf('@');
    if (at < 0) return new ExportRefused('an export name is <disk>@<access token>', false);
    const [name, token] = [exportName.slice(0, at), exportName.slice(at + 1)];
    try {
      names.disk.parse(name, 'export name');
      const opened = await this.#parts.exports.open(name, token);
      if (this.#parts.admission.openDisk(opened.name)) return opened;
      opened.release();
      return new ExportRefused(`the disk has ${connectionsPerDiskMax} connections, which is the most: end one`, true);
    } catch (error) {
      if (!(error instanceof Rejection)) return new ExportRefused('the disk cannot be opened now', true);
      return new ExportRefused(`${error.reason}: ${error.message}`, error.code !== 'INVALID_ARGUMENT');
    }
  }

  /** Waits until the client has taken the replies so far: it may call for any number of them. */
  async #taken(): Promise<void> {
    const stream = this.#stream;
    if (!stream.writableNeedDrain || stream.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    stream.once('drain', resolve).once('close', resolve);
    await promise;
    stream.off('drain', resolve).off('close', resolve);
  }

  #reply(code: number, kind: (typeof optionReply)[keyof typeof optionReply], data?: Uint8Array): void {
    this.#stream.write(encodeOptionReply(code, kind, data));
  }

  #refuse(code: number, kind: (typeof optionReply)[keyof typeof optionReply], message: string): void {
    this.#reply(code, kind, Buffer.from(message));
  }
}

/** Why an export cannot be used. `isKnown`: the name has the right form. */
class ExportRefused extends Error {
  readonly isKnown: boolean;
  constructor(message: string, isKnown: boolean) {
    super(message);
    this.isKnown = isKnown;
  }
}

const flagsOf = ({ isReadOnly }: Export): number => {
  const flag = transmissionFlag;
  const always = flag.hasFlags | flag.sendFlush | flag.sendFua | flag.sendDf | flag.canMultiConn;
  return isReadOnly ? always | flag.readOnly : always | flag.sendTrim | flag.sendWriteZeroes | flag.sendFastZero;
};

/** Size in bytes (64 bits) and transmission flags (16 bits). */
const sizeAndFlags = (opened: Export): Buffer => {
  const bytes = Buffer.alloc(10);
  bytes.writeBigUInt64BE(BigInt(opened.size()), 0);
  bytes.writeUInt16BE(flagsOf(opened), 8);
  return bytes;
};

const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Export name in the data of INFO or GO: its length, itself, a count, and that many 16-bit requests. */
const exportNameIn = (data: Buffer): string | undefined => {
  if (data.length < 6) return undefined;
  const length = data.readUInt32BE(0);
  if (data.length < 6 + length) return undefined;
  const requests = data.readUInt16BE(4 + length);
  if (data.length !== 6 + length + 2 * requests) return undefined;
  return data.toString('utf8', 4, 4 + length);
};

/** Export name and queries in the data of a meta context option. */
const metaContextsIn = (
  data: Buffer,
): { readonly exportName: string; readonly queries: readonly string[] } | undefined => {
  let at = 0;
  const text = (): string | undefined => {
    if (data.length < at + 4) return undefined;
    const length = data.readUInt32BE(at);
    if (data.length < at + 4 + length) return undefined;
    at += 4 + length;
    return data.toString('utf8', at - length, at);
  };
  const exportName = text();
  if (exportName === undefined || data.length < at + 4) return undefined;
  const count = data.readUInt32BE(at);
  at += 4;
  const queries: string[] = [];
  while (queries.length < count) {
    const query = text();
    if (query === undefined) return undefined;
    queries.push(query);
  }
  return at === data.length ? { exportName, queries } : undefined;
};
