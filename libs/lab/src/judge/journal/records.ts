import { createHash } from 'node:crypto';
import type { Recorded } from './history.ts';
import type { Io } from './journal.ts';

const sectorBytes = 4_096;

/**
 * The content that a guest writes, computed from its description: in each sector of 4 KiB the SHA-256 of disk name, record
 * number and offset, repeated, with the record's number in the first eight bytes.
 */
export function recordBytes(disk: string, seq: number, offset: number, length: number): Buffer {
  const record = Buffer.alloc(length);
  for (let at = 0; at < length; at += sectorBytes) {
    record.fill(patternOf(disk, seq, offset + at), at, at + sectorBytes);
    record.writeBigUInt64BE(BigInt(seq), at);
  }
  return record;
}

const patternOf = (disk: string, seq: number, offset: number): Buffer =>
  createHash('sha256').update(`${disk}\0${seq}\0${offset}`).digest();

/** A place of a disk and its possible records. */
export interface Place {
  readonly offset: number;
  readonly length: number;
  /** The last acknowledged record first, then later ones with unknown outcome: the place may hold any of them. */
  readonly candidates: readonly number[];
}

/** What a disk must hold according to its journal, by place. */
export function expectedPlaces(journal: readonly (Io & Pick<Recorded, 'vmHost'>)[], disk: string): readonly Place[] {
  const places = new Map<number, Place>();
  const writes = journal.filter((io) => io.disk === disk && io.op === 'write');
  for (const { offset, length, seq, ok } of writes) {
    const before = places.get(offset)?.candidates ?? [];
    if (ok) places.set(offset, { offset, length, candidates: [seq] });
    else if (before.length > 0) places.set(offset, { offset, length, candidates: [...before, seq] });
  }
  // The write in progress when a guest was killed is in no journal. It has the next number of its journal, and places rotate.
  const next = [...Map.groupBy(writes, ({ vmHost }) => vmHost).values()].map(
    (own) => own.reduce((last, { seq }) => Math.max(last, seq), 0) + 1,
  );
  return [...places.values()].map((place) => ({ ...place, candidates: [...place.candidates, ...next] }));
}

/**
 * The expected content of a place: for each sector its actual content if that is possible, otherwise the content that was
 * acknowledged last.
 */
export function acknowledged(disk: string, { offset, length, candidates }: Place, found: Uint8Array): Buffer {
  const possible = candidates.map((seq) => recordBytes(disk, seq, offset, length));
  const sectors: Uint8Array[] = [];
  for (let at = 0; at < length; at += sectorBytes) {
    const sectorOf = (bytes: Uint8Array): Uint8Array => bytes.subarray(at, at + sectorBytes);
    const there = possible.map(sectorOf).find((sector) => Buffer.from(sector).equals(sectorOf(found)));
    sectors.push(there ?? sectorOf(possible[0] ?? Buffer.alloc(length)));
  }
  return Buffer.concat(sectors);
}

/** How many sectors of the place hold none of the candidates. */
export function mismatches(disk: string, place: Place, bytes: Uint8Array): number {
  const wanted = acknowledged(disk, place, bytes);
  let wrong = 0;
  for (let at = 0; at < place.length; at += sectorBytes) {
    if (!wanted.subarray(at, at + sectorBytes).equals(bytes.subarray(at, at + sectorBytes))) wrong += 1;
  }
  return wrong;
}
