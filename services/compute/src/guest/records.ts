import { createHash } from 'node:crypto';
import type { JournalEntry } from './journal.ts';

/** A disk is atomic per sector: after a failed write each sector has its old or its new content. */
export const sectorBytes = 4_096;

/** Slots a guest writes to in turn, from the beginning of each disk. */
const slotCount = 64;

/** Where a write goes. */
export const offsetOf = (seq: number, ioSizeBytes: number): number => (seq % slotCount) * ioSizeBytes;

/** The content of a numbered write: each sector is unique by disk, number and offset. */
export const recordOf = (disk: string, seq: number, offset: number, length: number): Buffer => {
  const record = Buffer.alloc(length);
  for (let at = 0; at < length; at += sectorBytes) {
    const pattern = createHash('sha256')
      .update(`${disk}\0${seq}\0${offset + at}`)
      .digest();
    record.fill(pattern, at, at + sectorBytes);
    record.writeBigUInt64BE(BigInt(seq), at);
  }
  return record;
};

/** What must be found at one place. */
export interface Expectation {
  readonly offset: number;
  readonly length: number;
  /** The acknowledged write; `undefined` while none was, then the place may hold anything. */
  readonly acknowledged: number | undefined;
  /** Later writes without a definite answer: any sector may hold one of them. */
  readonly possible: readonly number[];
}

/** Whether the bytes are what they must be: every sector that of the acknowledged write or of a possible later one. */
export const isAsExpected = (disk: string, expected: Expectation, bytes: Uint8Array): boolean => {
  if (bytes.length !== expected.length) return false;
  if (expected.acknowledged === undefined) return true;
  const candidates = [expected.acknowledged, ...expected.possible].map((seq) =>
    recordOf(disk, seq, expected.offset, expected.length),
  );
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    const sector = bytes.subarray(at, at + sectorBytes);
    if (!candidates.some((candidate) => candidate.subarray(at, at + sectorBytes).equals(sector))) return false;
  }
  return true;
};

/** What a machine knows about its writes to one disk. */
export interface ExpectedContent {
  /** Number of the next write: that of the write under way when the machine was cut off, if it was. */
  next(): number;
  /** A write was acknowledged (`true`), or ended without saying whether it happened (`false`). */
  wrote(seq: number, offset: number, length: number, ok: boolean): void;
  at(offset: number): Expectation | undefined;
  all(): readonly Expectation[];
}

/** @param history journal of earlier runs, of any disk; what lies before the disk was last adopted does not count */
export const openExpectedContent = (
  disk: string,
  history: readonly JournalEntry[],
  ioSizeBytes: number,
): ExpectedContent => {
  const places = new Map<number, Expectation>();
  let last = 0;
  const expect = (seq: number, offset: number, length: number, ok: boolean): void => {
    const before = places.get(offset);
    const { acknowledged, possible = [] } = before?.length === length ? before : {};
    places.set(
      offset,
      ok
        ? { offset, length, acknowledged: seq, possible: [] }
        : { offset, length, acknowledged, possible: [...possible.filter((one) => one !== seq), seq] },
    );
  };
  const wrote: ExpectedContent['wrote'] = (seq, ...about) => {
    last = Math.max(last, seq);
    expect(seq, ...about);
  };
  const own = history.filter((entry) => entry.disk === disk);
  const adopted = own.findLastIndex(({ op }) => op === 'adopt');
  for (const entry of own.slice(adopted + 1)) {
    if (entry.op === 'write') wrote(entry.seq, entry.offset, entry.length, entry.ok);
  }
  // The write under way when the machine was cut off was never journalled, and may have happened all the same. It is done again
  // with its number, so that the journal has every number that may be on the disk, and at most the next one is without an entry.
  if (last > 0) expect(last + 1, offsetOf(last + 1, ioSizeBytes), ioSizeBytes, false);
  return {
    next: () => last + 1,
    wrote,
    at: (offset) => places.get(offset),
    all: () => [...places.values()],
  };
};
