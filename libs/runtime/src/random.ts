import { randomBytes, randomFillSync } from 'node:crypto';

/**
 * The only source of randomness below `main.ts`. The real one is the operating system's cryptographic generator; the simulated
 * one is a seeded generator, so that a run can be repeated exactly.
 */
export interface Random {
  /** `length` unpredictable bytes: the only source of key material. */
  bytes(length: number): Uint8Array;
  /** A version 4 UUID in lower case. */
  uuid(): string;
  /** A number in [0, 1): for jitter, never for secrets. */
  fraction(): number;
}

const uuidBytes = 16;
/** Unpredictable bytes for 128 UUIDs; each byte is used once. */
const pool = Buffer.alloc(128 * uuidBytes);
let used = pool.length;
const digits = Buffer.from('0123456789abcdef');
const dash = '-'.charCodeAt(0);
const text = Buffer.alloc(36);

/**
 * Like Node's `randomUUID`, but with less garbage: Node joins twenty strings for each UUID. Each event has one, and these strings
 * were a twentieth of the garbage when a fleet stops.
 */
const uuid = (): string => {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let at = 0;
  for (let n = 0; n < uuidBytes; n += 1) {
    let byte = pool[used + n] ?? 0;
    // RFC 9562: version 4, variant 10.
    if (n === 6) byte = (byte & 0x0f) | 0x40;
    if (n === 8) byte = (byte & 0x3f) | 0x80;
    if (n === 4 || n === 6 || n === 8 || n === 10) {
      text[at] = dash;
      at += 1;
    }
    text[at] = digits[byte >> 4] ?? 0;
    text[at + 1] = digits[byte & 0x0f] ?? 0;
    at += 2;
  }
  used += uuidBytes;
  return text.toString('latin1');
};

/** The operating system's generator. */
export const systemRandom: Random = {
  bytes: (length) => randomBytes(length),
  uuid,
  fraction: () => Math.random(),
};
