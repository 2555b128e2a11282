import { randomBytes, randomFillSync } from 'node:crypto';

/**
 * The one source of chance below `main.ts`. The real one is the operating system's cryptographic generator; the
 * simulated one is a seeded generator, so that a run can be repeated exactly.
 */
export interface Random {
  /** `length` unpredictable bytes. Key material is made from these and from nothing else. */
  bytes(length: number): Uint8Array;
  /** A version 4 UUID in lower case. */
  uuid(): string;
  /** A number in [0, 1): for jitter, never for secrets. */
  fraction(): number;
}

const uuidBytes = 16;
/** Unpredictable bytes for so many UUIDs, of which each is used once. */
const pool = Buffer.alloc(128 * uuidBytes);
let used = pool.length;
const digits = Buffer.from('0123456789abcdef');
const dash = '-'.charCodeAt(0);
const text = Buffer.alloc(36);

/**
 * As `randomUUID` of Node, which puts the text together out of twenty pieces, each of them garbage: an event has one, and they
 * were a twentieth of what the stop of a fleet leaves behind.
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
