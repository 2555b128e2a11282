import type { SeededRandom } from '@interlock/runtime';
import { command, option, optionMagic, requestLength } from '../../../services/disk/src/host/nbd/wire.ts';

/** A whole number below `end`. */
export const below = (random: SeededRandom, end: number): number => Math.floor(random.fraction() * end);

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** The client's part of the greeting. */
export const clientFlags = (flags: number): Buffer => u32(flags);

/** A text behind its length. */
export const counted = (text: string): Buffer => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)]);

/** @param length which the head states; by default the true one */
export const optionFrame = (code: number, data: Uint8Array = new Uint8Array(), length = data.length): Buffer => {
  const head = Buffer.alloc(16);
  head.writeBigUInt64BE(optionMagic);
  head.writeUInt32BE(code >>> 0, 8);
  head.writeUInt32BE(length >>> 0, 12);
  return Buffer.concat([head, data]);
};

/** A request without its payload. */
export const requestFrame = (request: {
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly flags?: number;
  readonly cookie?: Uint8Array;
}): Buffer => {
  const { kind, offset, length, flags = 0, cookie } = request;
  const head = Buffer.alloc(requestLength);
  head.writeUInt32BE(0x2560_9513, 0);
  head.writeUInt16BE(flags, 4);
  head.writeUInt16BE(kind, 6);
  if (cookie) head.set(cookie, 8);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(length >>> 0, 24);
  return head;
};

const lengths = [
  0,
  1,
  4,
  5,
  6,
  7,
  60,
  511,
  4_095,
  4_096,
  8_191,
  8_192,
  8_193,
  60_000,
  131_072,
  131_073,
  2 ** 31,
  2 ** 32 - 1,
];

/** An option of any code with data of any length, whose stated length may be another. */
export const oddOption = (random: SeededRandom, exportName: string): Buffer => {
  const code = random.chance(0.9) ? random.pick(Object.values(option)) : below(random, 2 ** 32);
  const stated = random.pick(lengths);
  const data = random.chance(0.5)
    ? Buffer.concat([
        counted(random.chance(0.5) ? exportName : 'd@t'),
        u32(below(random, 4)),
        counted('base:allocation'),
      ])
    : Buffer.from(random.bytes(Math.min(stated, below(random, 9_000))));
  return optionFrame(code, data, random.chance(0.7) ? data.length : stated);
};

const mib = 1_048_576;
const sizes = [
  0,
  1,
  511,
  512,
  4_095,
  4_096,
  4_097,
  65_536,
  65_537,
  262_144,
  mib,
  mib + 1,
  5 * mib,
  32 * mib,
  32 * mib + 1,
];

/** A request with any command, flags, offset and length; a write mostly with its payload. */
export const oddRequest = (random: SeededRandom, size: number): Buffer => {
  const kind = random.chance(0.95) ? random.pick(Object.values(command)) : below(random, 65_536);
  const offset = random.pick([
    () => below(random, size / 4_096) * 4_096,
    () => below(random, size),
    () => size - random.pick(sizes.slice(0, 4)),
    () => Number.MAX_SAFE_INTEGER - below(random, 4_096),
  ])();
  // Mostly short: long ones end the conversation sooner.
  const length = random.chance(0.9) ? random.pick(sizes.slice(0, 8)) : random.pick([...sizes, 2 ** 32 - 1]);
  const flags = random.chance(0.7) ? 0 : below(random, 65_536);
  const head = requestFrame({ kind, offset, length, flags, cookie: random.bytes(8) });
  if (kind !== command.write || length > 2 * mib) return head;
  return Buffer.concat([head, Buffer.alloc(length, below(random, 256))]);
};

/** A frame with some bytes changed, cut short, or followed by others. */
export const damaged = (random: SeededRandom, frame: Buffer): Buffer => {
  const bytes = Buffer.from(frame);
  for (let changes = below(random, 4); changes >= 0; changes -= 1)
    bytes[below(random, bytes.length)] = below(random, 256);
  if (random.chance(0.3)) return bytes.subarray(0, below(random, bytes.length));
  return random.chance(0.3) ? Buffer.concat([bytes, Buffer.from(random.bytes(below(random, 40)))]) : bytes;
};
