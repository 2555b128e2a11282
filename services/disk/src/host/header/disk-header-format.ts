import { hash, timingSafeEqual } from 'node:crypto';
import { sectorSize } from '../storage/sector.ts';

/** A DEK wrapped by one key version. Rules CMK-13, CMK-14. */
export interface DekWrap {
  /** Full name of the exact key version: unwrapping never uses "the latest". */
  readonly keyVersion: string;
  /** Algorithm of the wrap, such as RSA-OAEP-256. */
  readonly algorithm: string;
  readonly wrapped: Uint8Array;
}

/** The content of one slot. */
export interface DiskHeader {
  readonly diskId: string;
  readonly dekId: string;
  /** Bytes of the disk. */
  readonly size: number;
  readonly cipher: 'AES-256-XTS-4096';
  /** 1 for the first header of a disk; each write adds 1. */
  readonly sequence: number;
  /** Full name of the encryption set the wrap belongs to; `''` under a key of the platform. */
  readonly set: string;
  /** Generation of the encryption set the wrap was made under; wraps of an older one are refused and wrapped again. */
  readonly generation: number;
  /** Epoch of the host that owns the disk: an older host finds a higher one here. */
  readonly hostEpoch: number;
  readonly wrap: DekWrap;
}

/**
 * Authenticates a slot: HMAC-SHA256, 32 bytes, under a key only the disk service has, over the id of the volume and the bytes.
 * With access to the storage alone a header can neither be changed nor moved to another volume.
 */
export type SlotMac = (bytes: Uint8Array) => Uint8Array;

/** A slot that holds no header of this service: damaged, or well-formed but not authenticated by this service. */
export type BadSlot = 'corrupt' | 'forged';

/**
 * A slot is one sector: magic (8) ‖ format version (4, big-endian) ‖ length (4) ‖ JSON ‖ zeros ‖ MAC of all before (32) ‖ SHA-256 of
 * all before. The MAC decides; the hash distinguishes a damaged slot from one of another writer.
 * JSON, so that an operator with only a hex dump can read which key a disk needs.
 */
const magic = Buffer.from('ILKDISKH');
const formatVersion = 2;
const jsonAt = 16;
const macAt = sectorSize - 64;
const checksumAt = sectorSize - 32;

/** @throws Error when the header does not fit one sector (a wrap of RSA-4096 takes under 1 KiB). */
export function encodeSlot(header: DiskHeader, mac: SlotMac): Uint8Array {
  const text = Buffer.from(JSON.stringify(headerToJson(header)));
  if (jsonAt + text.length > macAt) throw new Error(`a disk header of ${text.length} bytes does not fit its slot`);
  const sector = Buffer.alloc(sectorSize);
  magic.copy(sector);
  sector.writeUInt32BE(formatVersion, 8);
  sector.writeUInt32BE(text.length, 12);
  text.copy(sector, jsonAt);
  sector.set(mac(sector.subarray(0, macAt)), macAt);
  sector.set(checksum(sector), checksumAt);
  return sector;
}

/** Reads a slot and verifies its MAC. If the MAC is right, the hash is not checked. */
export function decodeSlot(bytes: Uint8Array, mac: SlotMac): DiskHeader | BadSlot {
  const header = readUnverifiedSlot(bytes);
  if (!header) return 'corrupt';
  if (timingSafeEqual(mac(bytes.subarray(0, macAt)), bytes.subarray(macAt, checksumAt))) return header;
  return timingSafeEqual(checksum(bytes), bytes.subarray(checksumAt)) ? 'forged' : 'corrupt';
}

const checksum = (sector: Uint8Array): Buffer => hash('sha256', sector.subarray(0, checksumAt), 'buffer');

/**
 * The content of a slot without authentication: for tests and reports, never for decisions.
 * @returns undefined when the sector is torn, or of a format this version does not know
 */
export function readUnverifiedSlot(bytes: Uint8Array): DiskHeader | undefined {
  const sector = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!sector.subarray(0, 8).equals(magic) || sector.readUInt32BE(8) !== formatVersion) return undefined;
  const end = jsonAt + sector.readUInt32BE(12);
  return end > macAt ? undefined : headerFromJson(parsed(sector.toString('utf8', jsonAt, end)));
}

/** @returns undefined for text that is no JSON */
const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** Computed digests by header: the same header is compared several times while a disk is opened. */
const digests = new WeakMap<DiskHeader, string>();

/**
 * Digest of a header without the epoch of its host, which changes without a change of the disk: SHA-256, base64url. Events carry
 * it, so that the store knows which header of a sequence is the one it stored.
 */
export const headerDigest = (header: DiskHeader): string => {
  const known = digests.get(header);
  if (known !== undefined) return known;
  const digest = hash('sha256', JSON.stringify(headerToJson({ ...header, hostEpoch: 0 })), 'base64url');
  digests.set(header, digest);
  return digest;
};

/** A header as JSON; wraps in base64. The order of the fields does not depend on their order in `header`. */
export const headerToJson = (header: DiskHeader) => {
  const { diskId, dekId, size, cipher, sequence, set, generation, hostEpoch, wrap } = header;
  return {
    ...{ diskId, dekId, size, cipher, sequence, set, generation, hostEpoch },
    wrap: wrapToJson(wrap),
  };
};

/** @returns undefined when it is not the JSON of a header */
export function headerFromJson(json: unknown): DiskHeader | undefined {
  if (!isRecord(json)) return undefined;
  const { diskId, dekId, size, cipher, sequence, set, generation, hostEpoch } = json;
  const wrap = wrapFrom(json.wrap);
  if (typeof diskId !== 'string' || typeof dekId !== 'string' || cipher !== 'AES-256-XTS-4096') return undefined;
  if (!isCount(size) || !isCount(sequence) || !isCount(generation) || !isCount(hostEpoch)) return undefined;
  if (typeof set !== 'string' || !wrap) return undefined;
  return { diskId, dekId, size, cipher, sequence, set, generation, hostEpoch, wrap };
}

function wrapFrom(json: unknown): DekWrap | undefined {
  if (!isRecord(json) || typeof json.keyVersion !== 'string' || typeof json.algorithm !== 'string') return undefined;
  const wrapped = fromBase64(json.wrapped);
  return wrapped && { keyVersion: json.keyVersion, algorithm: json.algorithm, wrapped };
}

const wrapToJson = ({ keyVersion, algorithm, wrapped }: DekWrap) => ({
  ...{ keyVersion, algorithm },
  wrapped: Buffer.from(wrapped).toString('base64'),
});
const fromBase64 = (text: unknown) =>
  typeof text === 'string' ? new Uint8Array(Buffer.from(text, 'base64')) : undefined;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
