import { pieceSize, sectorSize } from './sector.ts';

/**
 * The part of XTS that OpenSSL's ECB does not do, as a WebAssembly function of about a hundred bytes:
 *
 *   mask(data, tweaks, sectors): for each sector, T = the 16 bytes at `tweaks`; for each of its 256 blocks
 *   block ^= T, then T = T · x in GF(2^128)
 *
 * XTS is C = E(P ^ T) ^ T, so one call before and one after a plain ECB pass make the whole mode. It is assembled here
 * by hand, because one loop does not justify a toolchain; 128-bit SIMD does each step for a whole block.
 *
 * T · x in the little-endian order of IEEE 1619: shift both 64-bit halves left by one bit, carry the top bit of the low
 * half into the high one, and where the top bit of the high half falls out, xor 0x87 into the lowest byte. The carries
 * come from the signs of the 32-bit lanes: shift right arithmetically by 31 gives all ones or zeros per lane, a shuffle
 * brings lane 3 to lane 0 and lane 1 to lane 2, and an `and` with (0x87, 0, 1, 0) leaves just the carries.
 */
export interface XtsMask {
  /** Scratch for up to `pieceSize` bytes of whole sectors. */
  readonly data: Uint8Array;
  /** Scratch for the encrypted tweak of each of these sectors, 16 bytes each. */
  readonly tweaks: Uint8Array;
  /** Masks the first `sectors` sectors of `data` with the first `sectors` tweaks. */
  apply(sectors: number): void;
}

/** The little of WebAssembly that is used here: its types come only with those of a browser. */
declare const WebAssembly: {
  readonly Memory: new (limits: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> };
};

const tweaksAt = 0;
const sectorsPerPiece = pieceSize / sectorSize;
const dataAt = sectorsPerPiece * 16;
const wasmPageSize = 65_536;
const pages = Math.ceil((dataAt + pieceSize) / wasmPageSize);

/** @throws CompileError where WebAssembly SIMD is missing; `openXts` then works without a mask. */
export function createXtsMask(): XtsMask {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble()));
  const { memory, mask } = instance.exports;
  if (!(memory instanceof WebAssembly.Memory) || typeof mask !== 'function') throw new Error('a mask without exports');
  return {
    data: new Uint8Array(memory.buffer, dataAt, pieceSize),
    tweaks: new Uint8Array(memory.buffer, tweaksAt, sectorsPerPiece * 16),
    apply: (sectors) => {
      mask(dataAt, tweaksAt, sectors);
    },
  };
}

/** Unsigned LEB128: how WebAssembly writes every number but constants. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

/** Signed LEB128, for constants. */
function signed(value: number): number[] {
  const rest = value >> 7;
  const isLast = (rest === 0 && (value & 64) === 0) || (rest === -1 && (value & 64) !== 0);
  return isLast ? [value & 127] : [(value & 127) | 128, ...signed(rest)];
}

const vector = (items: readonly (readonly number[])[]) => [...unsigned(items.length), ...items.flat()];
const sized = (bytes: readonly number[]) => [...unsigned(bytes.length), ...bytes];
const section = (id: number, bytes: readonly number[]) => [id, ...sized(bytes)];
const name = (text: string) => sized([...Buffer.from(text)]);

const i32 = 0x7f;
const v128 = 0x7b;
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];
/** Alignment 1 (2^0) and offset 0: an honest hint, since callers may pass any address. */
const memarg = [0, 0];

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const constant = (value: number) => [0x41, ...signed(value)];
const add = [0x6a];
const subtract = [0x6b];
const isBelow = [0x49];
const load = [...simd(0x00), ...memarg];
const store = [...simd(0x0b), ...memarg];
const vectorConstant = (bytes: readonly number[]) => [...simd(0x0c), ...bytes];
const shuffle = (lanes: readonly number[]) => [...simd(0x0d), ...lanes];
const and = simd(0x4e);
const xor = simd(0x51);
const signsOfLanes = [...constant(31), ...simd(0xac)];
const shiftHalvesLeft = [...constant(1), ...simd(0xcb)];
const loop = (body: readonly number[]) => [0x03, 0x40, ...body, 0x0b];
const againIfNotZero = [0x0d, 0];

/** Lane 3 → lane 0, lane 1 → lane 2; the other two are masked away. */
const carryLanes = [12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const carryMask = [0x87, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

function assemble(): Uint8Array<ArrayBuffer> {
  const [data, tweaks, sectors, end, tweak] = [0, 1, 2, 3, 4] as const;
  const maskBlock = [...get(data), ...get(data), ...load, ...get(tweak), ...xor, ...store];
  const timesX = [
    ...[...get(tweak), ...shiftHalvesLeft],
    ...[...get(tweak), ...signsOfLanes, ...get(tweak), ...signsOfLanes, ...shuffle(carryLanes)],
    ...[...vectorConstant(carryMask), ...and],
    ...[...xor, ...set(tweak)],
  ];
  const nextBlock = [...get(data), ...constant(16), ...add, ...tee(data), ...get(end), ...isBelow, ...againIfNotZero];
  const maskSector = [
    ...[...get(tweaks), ...load, ...set(tweak)],
    ...[...get(data), ...constant(sectorSize), ...add, ...set(end)],
    ...loop([...maskBlock, ...timesX, ...nextBlock]),
  ];
  const nextSector = [
    ...[...get(tweaks), ...constant(16), ...add, ...set(tweaks)],
    ...[...get(sectors), ...constant(1), ...subtract, ...tee(sectors), ...againIfNotZero],
  ];
  const locals = vector([
    [1, i32],
    [1, v128],
  ]);
  const body = [...locals, ...loop([...maskSector, ...nextSector]), 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector([[0x60, ...vector([[i32], [i32], [i32]]), ...vector([])]])),
    ...section(3, vector([[0]])),
    ...section(5, vector([[0x00, ...unsigned(pages)]])),
    ...section(
      7,
      vector([
        [...name('memory'), 0x02, 0],
        [...name('mask'), 0x00, 0],
      ]),
    ),
    ...section(10, vector([sized(body)])),
  ]);
}
