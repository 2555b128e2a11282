import type { Random } from './random.ts';

/** Random values that are the same for the same seed. */
export interface SeededRandom extends Random {
  /** A whole number from 0 to `below` − 1. */
  int(below: number): number;
  /** True with that probability. */
  chance(probability: number): boolean;
  /** One of them. @throws RangeError when there are none */
  pick<Value>(values: readonly Value[]): Value;
  /** Another sequence, which depends only on this seed and the name: draws of one part do not change those of another. */
  fork(name: string): SeededRandom;
}

/** Two hexadecimal digits for each byte: small enough for the fastest CPU cache. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Creates a generator (mulberry32). For tests and the simulation, never for keys. @param seed only its low 32 bits are used */
export const seededRandom = (seed: number): SeededRandom => {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const fraction = (): number => word() / 2 ** 32;
  const int = (below: number): number => Math.floor(fraction() * below);
  const half = (value: number): string => `${HEX[(value >>> 8) & 255]}${HEX[value & 255]}`;
  return {
    fraction,
    int,
    chance: (probability) => probability > 0 && fraction() < probability,
    pick(values) {
      const index = int(values.length);
      if (index >= values.length) throw new RangeError('there is nothing to pick from');
      return values[index] as (typeof values)[number];
    },
    fork: (name) => {
      let mixed = seed >>> 0;
      for (let at = 0; at < name.length; at += 1) mixed = Math.imul(mixed ^ name.charCodeAt(at), 0x01000193) >>> 0;
      return seededRandom(mixed);
    },
    bytes(length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length; at += 4) {
        const four = word();
        for (let each = 0; each < 4 && at + each < length; each += 1) bytes[at + each] = (four >>> (8 * each)) & 255;
      }
      return bytes;
    },
    uuid() {
      const [a, b, c, d] = [word(), word(), word(), word()];
      // Version 4 of RFC 9562 §5.4, and its variant.
      return `${half(a >>> 16)}${half(a)}-${half(b >>> 16)}-${half((b & 0x0fff) | 0x4000)}-${half(((c >>> 16) & 0x3fff) | 0x8000)}-${half(c)}${half(d >>> 16)}${half(d)}`;
    },
  };
};
