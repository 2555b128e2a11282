/**
 * Numbers and messages of the NBD protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. All integers are
 * big-endian. Names follow that document without their prefix `NBD_`.
 */

/** Greeting of the server: `NBDMAGIC`, `IHAVEOPT`, handshake flags. */
export const greeting = (): Buffer => {
  const bytes = Buffer.alloc(18);
  bytes.write('NBDMAGICIHAVEOPT', 'latin1');
  bytes.writeUInt16BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes, 16);
  return bytes;
};

export const handshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

/** `IHAVEOPT`, in front of each option. */
export const optionMagic = 0x4948_4156_454f_5054n;
/** Bytes in front of the data of an option: magic, option, length. */
export const optionHeadLength = 16;

export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

const error = 2 ** 31;
/** Kinds of replies to options. */
export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: error + 1,
  policy: error + 2,
  invalid: error + 3,
  tlsRequired: error + 5,
  unknown: error + 6,
  tooBig: error + 9,
} as const;

export const infoType = { export: 0, blockSize: 3 } as const;

const optionReplyMagic = 0x0003_e889_0455_65a9n;

export const encodeOptionReply = (
  of: number,
  kind: (typeof optionReply)[keyof typeof optionReply],
  data: Uint8Array = new Uint8Array(),
): Buffer => {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(optionReplyMagic, 0);
  head.writeUInt32BE(of, 8);
  head.writeUInt32BE(kind, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
};

export const transmissionFlag = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendFastZero: 2_048,
} as const;

export const command = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6, blockStatus: 7 } as const;

export const commandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

/** Error numbers of replies. */
export const errno = { EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, ENOTSUP: 95, ESHUTDOWN: 108 } as const;
export type Errno = (typeof errno)[keyof typeof errno];

const requestMagic = 0x2560_9513;
export const requestLength = 28;

/**
 * 8 bytes, returned in the reply. Held as two numbers: a part of the bytes that arrived would keep all that arrived with it in memory.
 */
export interface Cookie {
  readonly high: number;
  readonly low: number;
}

/** A request without its payload. */
export interface Request {
  readonly flags: number;
  readonly command: number;
  readonly cookie: Cookie;
  /** May be above every disk's size; exact up to 2^53. */
  readonly offset: number;
  readonly length: number;
}

/** @returns undefined for bytes that are no request */
export const decodeRequest = (bytes: Buffer): Request | undefined => {
  if (bytes.readUInt32BE(0) !== requestMagic) return undefined;
  return {
    flags: bytes.readUInt16BE(4),
    command: bytes.readUInt16BE(6),
    cookie: { high: bytes.readUInt32BE(8), low: bytes.readUInt32BE(12) },
    offset: bytes.readUInt32BE(16) * 2 ** 32 + bytes.readUInt32BE(20),
    length: bytes.readUInt32BE(24),
  };
};

const writeCookie = (into: Buffer, { high, low }: Cookie): void => {
  into.writeUInt32BE(high, 8);
  into.writeUInt32BE(low, 12);
};

const simpleReplyMagic = 0x6744_6698;
export const simpleReplyLength = 16;

/** Writes the head of a simple reply into `into`. */
export const writeSimpleReply = (into: Buffer, cookie: Cookie, code: Errno | 0): void => {
  into.writeUInt32BE(simpleReplyMagic, 0);
  into.writeUInt32BE(code, 4);
  writeCookie(into, cookie);
};

const chunkMagic = 0x668e_33ef;
export const chunkHeadLength = 20;
export const chunkFlagDone = 1;
export const chunkType = { none: 0, offsetData: 1, blockStatus: 5, error: 32_769 } as const;

/** Writes the head of a structured reply chunk into `into`. @param length of what follows the head */
export const writeChunkHead = (
  into: Buffer,
  cookie: Cookie,
  { type, isDone, length }: { readonly type: number; readonly isDone: boolean; readonly length: number },
): void => {
  into.writeUInt32BE(chunkMagic, 0);
  into.writeUInt16BE(isDone ? chunkFlagDone : 0, 4);
  into.writeUInt16BE(type, 6);
  writeCookie(into, cookie);
  into.writeUInt32BE(length, 16);
};

/** Writes the offset of the data behind the head of a chunk. */
export const writeOffset = (into: Buffer, offset: number): void => {
  into.writeUInt32BE(Math.floor(offset / 2 ** 32), chunkHeadLength);
  into.writeUInt32BE(offset >>> 0, chunkHeadLength + 4);
};

/** The only metadata context: which ranges hold data. */
export const allocationContext = 'base:allocation';
export const allocationContextId = 1;
/** State of an extent without data: a hole that reads as zeros. */
export const holeState = 3;
