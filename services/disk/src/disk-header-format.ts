import { hash } from 'node:crypto';
import { keyCheckLength } from './dek.ts';
import { sectorSize } from './sector.ts';

/** A DEK wrapped by one key version. Rules CMK-13, CMK-14. */
export interface DekWrap {
  /** Full name of the exact key version: unwrapping never uses "the latest". */
  readonly keyVersion: string;
  /** Algorithm of the wrap, such as RSA-OAEP-256. */
  readonly algorithm: string;
  readonly wrapped: Uint8Array;
}

/** What one slot says. */
export interface DiskHeader {
  readonly diskId: string;
  readonly dekId: string;
  /** Bytes of the disk. */
  readonly size: number;
  readonly cipher: 'AES-256-XTS-4096';
  /** `keyCheckValue` of the DEK: a wrong DEK is noticed before it turns data into noise. */
  readonly keyCheck: Uint8Array;
  /** 1 for the first header of a disk; each write adds 1. */
  readonly sequence: number;
  /** Generation of the encryption set the wrap was made under; wraps of an older one are refused and made anew. */
  readonly generation: number;
  /** Epoch of the host that owns the disk: an older host finds a higher one here. */
  readonly hostEpoch: number;
  readonly wrap: DekWrap;
  /** The DEK once more, under a standby key; serves only a rewrap. */
  readonly standby?: DekWrap;
}

/**
 * A slot is one sector: magic (8) ‖ format version (4, big-endian) ‖ length (4) ‖ JSON ‖ zeros ‖ SHA-256 of all before.
 * JSON, so that somebody with only a hex dump can read which key a disk needs.
 */
const magic = Buffer.from('ILKDISKH');
const formatVersion = 1;
const jsonAt = 16;
const checksumAt = sectorSize - 32;

/** @throws Error when the header does not fit one sector (a wrap of RSA-4096 twice takes under 2 KiB). */
export function encodeSlot(header: DiskHeader): Uint8Array {
  const text = Buffer.from(
    JSON.stringify({
      ...header,
      keyCheck: toBase64(header.keyCheck),
      wrap: wrapToJson(header.wrap),
      ...(header.standby ? { standby: wrapToJson(header.standby) } : {}),
    }),
  );
  if (jsonAt + text.length > checksumAt) throw new Error(`a disk header of ${text.length} bytes does not fit its slot`);
  const sector = Buffer.alloc(sectorSize);
  magic.copy(sector);
  sector.writeUInt32BE(formatVersion, 8);
  sector.writeUInt32BE(text.length, 12);
  text.copy(sector, jsonAt);
  checksum(sector).copy(sector, checksumAt);
  return sector;
}

/** @returns undefined when the sector is torn, changed, or of a format this version does not know. */
export function decodeSlot(bytes: Uint8Array): DiskHeader | undefined {
  const sector = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!sector.subarray(0, 8).equals(magic) || !checksum(sector).equals(sector.subarray(checksumAt))) return undefined;
  if (sector.readUInt32BE(8) !== formatVersion) return undefined;
  const text = sector.toString('utf8', jsonAt, jsonAt + sector.readUInt32BE(12));
  const parsed: unknown = JSON.parse(text);
  return isRecord(parsed) ? headerFrom(parsed) : undefined;
}

const checksum = (sector: Buffer) => hash('sha256', sector.subarray(0, checksumAt), 'buffer');

function headerFrom(json: Record<string, unknown>): DiskHeader | undefined {
  const { diskId, dekId, size, cipher, sequence, generation, hostEpoch } = json;
  const keyCheck = fromBase64(json.keyCheck);
  const wrap = wrapFrom(json.wrap);
  const standby = json.standby === undefined ? undefined : wrapFrom(json.standby);
  if (typeof diskId !== 'string' || typeof dekId !== 'string' || cipher !== 'AES-256-XTS-4096') return undefined;
  if (!isCount(size) || !isCount(sequence) || !isCount(generation) || !isCount(hostEpoch)) return undefined;
  if (keyCheck?.length !== keyCheckLength || !wrap || (json.standby !== undefined && !standby)) return undefined;
  const header = { diskId, dekId, size, cipher, keyCheck, sequence, generation, hostEpoch, wrap } as const;
  return standby ? { ...header, standby } : header;
}

function wrapFrom(json: unknown): DekWrap | undefined {
  if (!isRecord(json) || typeof json.keyVersion !== 'string' || typeof json.algorithm !== 'string') return undefined;
  const wrapped = fromBase64(json.wrapped);
  return wrapped && { keyVersion: json.keyVersion, algorithm: json.algorithm, wrapped };
}

const wrapToJson = (wrap: DekWrap) => ({ ...wrap, wrapped: toBase64(wrap.wrapped) });
const toBase64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const fromBase64 = (text: unknown) =>
  typeof text === 'string' ? new Uint8Array(Buffer.from(text, 'base64')) : undefined;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
