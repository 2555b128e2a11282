import { sectorSize } from '../storage/sector.ts';

/**
 * The part of XTS that OpenSSL's ECB does not do, as two WebAssembly functions of a few hundred bytes:
 *
 *   mask1(data, tweaks, sectors): for each sector, T = the 16 bytes at `tweaks`; for each of its 256 blocks
 *   block ^= T, then T = T · x in GF(2^128)
 *   mask4(data, tweaks, fours): the same, four sectors side by side
 *
 * XTS is C = E(P ^ T) ^ T, so one call before and one after a plain ECB pass make the whole mode. It is assembled here
 * by hand, because one loop does not justify a toolchain; 128-bit SIMD does each step for a whole block. Each T waits for
 * the one before it, and for nothing else: four sectors at once keep the processor busy meanwhile, at twice the speed.
 *
 * T · x in the little-endian order of IEEE 1619: shift both 64-bit halves left by one bit, carry the top bit of the low
 * half into the high one, and where the top bit of the high half falls out, xor 0x87 into the lowest byte. The carries
 * come from the signs of the 32-bit lanes: shift right arithmetically by 31 gives all ones or zeros per lane, a shuffle
 * brings lane 3 to lane 0 and lane 1 to lane 2, and an `and` with (0x87, 0, 1, 0) leaves just the carries.
 */
export interface XtsMask {
  /** Scratch for up to `maskSize` bytes of whole sectors. */
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

/** Most bytes masked at once: what stays in the nearer caches of a core while it goes through mask, AES and mask. */
export const maskSize = 65_536;

const tweaksAt = 0;
const sectorsMax = maskSize / sectorSize;
const dataAt = sectorsMax * 16;
const wasmPageSize = 65_536;
const pages = Math.ceil((dataAt + maskSize) / wasmPageSize);
/** Sectors side by side in `mask4`. */
const abreast = 4;

/** @throws CompileError if WebAssembly SIMD is missing; `openXts` then works without a mask. */
export function createXtsMask(): XtsMask {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(assemble()));
  const { memory, mask1, mask4 } = instance.exports;
  if (!(memory instanceof WebAssembly.Memory) || typeof mask1 !== 'function' || typeof mask4 !== 'function') {
    throw new Error('a mask without exports');
  }
  return {
    data: new Uint8Array(memory.buffer, dataAt, maskSize),
    tweaks: new Uint8Array(memory.buffer, tweaksAt, sectorsMax * 16),
    apply: (sectors) => {
      const single = sectors % abreast;
      const many = sectors - single;
      if (many > 0) mask4(dataAt, tweaksAt, many / abreast);
      if (single > 0) mask1(dataAt + many * sectorSize, tweaksAt + many * 16, single);
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
/** Alignment 1 (2^0): an honest hint, since callers may pass any address. Then a fixed offset from the address. */
const memarg = (offset: number) => [0, ...unsigned(offset)];

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const constant = (value: number) => [0x41, ...signed(value)];
const add = [0x6a];
const subtract = [0x6b];
const isBelow = [0x49];
const load = (offset: number) => [...simd(0x00), ...memarg(offset)];
const store = (offset: number) => [...simd(0x0b), ...memarg(offset)];
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

/** The body of a function that masks `count` sectors side by side, as often as its third parameter says. */
function maskBody(count: number): readonly number[] {
  const [data, tweaks, rounds, end] = [0, 1, 2, 3] as const;
  const lanes = Array.from({ length: count }, (_, lane) => ({
    tweak: 4 + lane,
    block: 4 + count + lane,
    dataOffset: lane * sectorSize,
    tweakOffset: lane * 16,
  }));
  const eachLane = (code: (lane: (typeof lanes)[number]) => readonly number[]) => lanes.flatMap(code);
  const timesX = (tweak: number) => [
    ...[...get(tweak), ...shiftHalvesLeft],
    ...[...get(tweak), ...signsOfLanes, ...get(tweak), ...signsOfLanes, ...shuffle(carryLanes)],
    ...[...vectorConstant(carryMask), ...and],
    ...[...xor, ...set(tweak)],
  ];
  const maskBlocks = [
    // All are loaded before one is stored: blocks a sector apart look alike to a processor that loads past a store.
    ...eachLane(({ tweak, block, dataOffset }) => [
      ...[...get(data), ...load(dataOffset), ...get(tweak), ...xor, ...set(block)],
    ]),
    ...eachLane(({ block, dataOffset }) => [...get(data), ...get(block), ...store(dataOffset)]),
    ...eachLane(({ tweak }) => timesX(tweak)),
  ];
  const nextBlock = [...get(data), ...constant(16), ...add, ...tee(data), ...get(end), ...isBelow, ...againIfNotZero];
  const maskSectors = [
    ...eachLane(({ tweak, tweakOffset }) => [...get(tweaks), ...load(tweakOffset), ...set(tweak)]),
    ...[...get(data), ...constant(sectorSize), ...add, ...set(end)],
    ...loop([...maskBlocks, ...nextBlock]),
  ];
  const nextSectors = [
    // The loop ends one sector on; the others beside it are done as well.
    ...[...get(data), ...constant((count - 1) * sectorSize), ...add, ...set(data)],
    ...[...get(tweaks), ...constant(count * 16), ...add, ...set(tweaks)],
    ...[...get(rounds), ...constant(1), ...subtract, ...tee(rounds), ...againIfNotZero],
  ];
  const locals = vector([
    [1, i32],
    [2 * count, v128],
  ]);
  return [...locals, ...loop([...maskSectors, ...nextSectors]), 0x0b];
}

function assemble(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector([[0x60, ...vector([[i32], [i32], [i32]]), ...vector([])]])),
    ...section(3, vector([[0], [0]])),
    ...section(5, vector([[0x00, ...unsigned(pages)]])),
    ...section(
      7,
      vector([
        [...name('memory'), 0x02, 0],
        [...name('mask1'), 0x00, 0],
        [...name('mask4'), 0x00, 1],
      ]),
    ),
    ...section(10, vector([sized(maskBody(1)), sized(maskBody(abreast))])),
  ]);
}
