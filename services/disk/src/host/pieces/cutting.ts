import { sectorSize } from '../storage/sector.ts';

/** Bytes [from, to). */
export type Range = readonly [from: number, to: number];

/** Cuts a range where the disk has multiples of `size`, so that only its two ends can be unaligned. */
export function* cut(start: number, end: number, size: number): Generator<Range> {
  for (let from = start; from < end; ) {
    const to = Math.min(end, (Math.floor(from / size) + 1) * size);
    yield [from, to];
    from = to;
  }
}

/** The sectors that bytes [from, to) touch: the number of the first, and of the one after the last. */
export const sectorsAround = (from: number, to: number): [first: number, end: number] => [
  Math.floor(from / sectorSize),
  Math.ceil(to / sectorSize),
];
