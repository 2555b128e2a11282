/** Bytes that storage writes all or none of, and the unit in which content is remembered. */
export const cellBytes = 512;
/** Cells of one 4 KiB sector. */
export const sectorCells = 8;

/** Content of a cell: the number of the write it comes from, `zeros`, or `noise`. */
type Value = number;
const zeros: Value = 0;
/** Ciphertext of half a sector that was a hole before: what a torn first write may leave (the torn-write rule). */
const noise: Value = -1;

interface Cell {
  /** What a read may find now; one value unless a write is under way or its outcome unknown. */
  possible: Set<Value>;
  /** What a crash may bring back; absent when all of `possible` is on stable storage. */
  beforeFlush: Set<Value> | undefined;
  /** Whether the storage has forgotten that it is not flushed: no flush covers it before it is written again. */
  isForgotten: boolean;
}

/** A write or read under way. */
export interface CellRange {
  readonly first: number;
  readonly count: number;
}

/** A copy of a disk being made: what it may hold in each cell. */
export interface Capture {
  readonly cells: Map<number, Set<Value>>;
}

/**
 * What the content of one disk may be, by all that was written to it. Every write has a number of its own, and its bytes
 * say it, so whatever is read tells where it comes from.
 */
export interface DiskContent {
  /** Whether nothing under way or of unknown outcome touches the range: operations of one disk never overlap. */
  isFree(range: CellRange): boolean;
  /** Call the result when it ended: `unknown` and `refused` leave each sector old or new; an unknown one may take effect later. */
  beginWrite(range: CellRange, value: Value): (outcome: 'done' | 'refused' | 'unknown') => void;
  /** Call the result with what was read. It returns undefined when that can be there, else what is wrong, in words. */
  beginRead(range: CellRange): (bytes: Uint8Array | undefined) => string | undefined;
  /** What is acknowledged now will be durable once this flush is acknowledged; call the result then. */
  beginFlush(): () => void;
  /** The storage did not do a flush: whatever is acknowledged of a later one, that covers nothing that was written before. */
  failFlush(): void;
  /** The storage lost power: what was not flushed may be old, new, or torn. */
  crash(): void;
  /** The session ended for good: a write of unknown outcome cannot take effect any more. */
  endSession(): void;
  beginCapture(): Capture;
  endCapture(capture: Capture): DiskContent;
  /** Cells anything was ever written to, in order. */
  written(): readonly number[];
}

/** Bytes with which a cell begins, and which it repeats to its end: the number of the write, and what ties it to its place. */
const markBytes = 8;
const tieOf = (cell: number, value: Value): number =>
  (Math.imul(cell + 1, 0x9e3779b1) ^ Math.imul(value, 0x85ebca6b)) >>> 0;

/** Bytes of a range written by one write. */
export const rangeContent = ({ first, count }: CellRange, value: Value): Buffer => {
  const bytes = Buffer.alloc(count * cellBytes);
  const mark = Buffer.alloc(markBytes);
  mark.writeUInt32BE(value, 0);
  for (let n = 0; n < count; n += 1) {
    mark.writeUInt32BE(tieOf(first + n, value), 4);
    bytes.fill(mark, n * cellBytes, (n + 1) * cellBytes);
  }
  return bytes;
};

const onlyZeros: ReadonlySet<Value> = new Set([zeros]);

/** Where the content of a cell comes from, which begins at `at` of what was read. A read brings hundreds of cells: none is copied. */
const sourceOf = (cell: number, bytes: Buffer, at: number): Value => {
  const claimed = bytes.readUInt32BE(at);
  const tie = claimed === zeros ? 0 : tieOf(cell, claimed);
  const end = at + cellBytes;
  const isWhole =
    bytes.readUInt32BE(at + 4) === tie && bytes.compare(bytes, at, end - markBytes, at + markBytes, end) === 0;
  return isWhole ? claimed : noise;
};

export const openContent = (from: ReadonlyMap<number, ReadonlySet<Value>> = new Map()): DiskContent => {
  // A copy is flushed before anybody hears of it.
  const cells = new Map<number, Cell>(
    [...from].map(([at, possible]) => [
      at,
      { possible: new Set(possible), beforeFlush: undefined, isForgotten: false },
    ]),
  );
  /** Cells with a write, and with a read, under way. */
  const writing = new Set<number>();
  const reading = new Set<number>();
  /** Cells with a write of unknown outcome that may still take effect. */
  const loose = new Set<number>();
  const captures = new Set<Capture>();
  let crashes = 0;
  let failedFlushes = 0;

  const cellAt = (at: number): Cell => {
    const found = cells.get(at) ?? { possible: new Set([zeros]), beforeFlush: undefined, isForgotten: false };
    cells.set(at, found);
    return found;
  };
  const each = ({ first, count }: CellRange, work: (at: number) => void): void => {
    for (let at = first; at < first + count; at += 1) work(at);
  };

  /** @param isFixed whether what was read is still there: seeing it then settles what the cell holds */
  const judge = (range: CellRange, bytes: Uint8Array, isFixed: boolean): string | undefined => {
    if (bytes.length !== range.count * cellBytes) {
      return `${bytes.length} bytes in place of ${range.count * cellBytes}`;
    }
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let n = 0; n < range.count; n += 1) {
      const at = range.first + n;
      const value = sourceOf(at, whole, n * cellBytes);
      const cell = cells.get(at);
      const possible = cell?.possible ?? onlyZeros;
      if (!possible.has(value)) {
        return `cell ${at} holds ${valueText(value)}, not ${[...possible].map(valueText).join(' or ')}`;
      }
      // Noise may be any bytes, so seeing some says no more than was known.
      if (cell && isFixed && possible.size > 1 && !loose.has(at) && value !== noise) cell.possible = new Set([value]);
    }
    return undefined;
  };

  return {
    isFree({ first, count }) {
      for (let at = first; at < first + count; at += 1) {
        if (writing.has(at) || reading.has(at) || loose.has(at)) return false;
      }
      return true;
    },
    beginWrite(range, value) {
      const crashesBefore = crashes;
      const failedBefore = failedFlushes;
      each(range, (at) => {
        writing.add(at);
        const cell = cellAt(at);
        // Of several writes since a flush each may have reached stable storage by itself.
        cell.beforeFlush = new Set([...(cell.beforeFlush ?? []), ...cell.possible]);
        // Another set: a flush that is under way does not cover this write.
        cell.possible = new Set([...cell.possible, value]);
        for (const capture of captures) {
          capture.cells.set(at, new Set([...(capture.cells.get(at) ?? [zeros]), value]));
        }
      });
      return (outcome) =>
        each(range, (at) => {
          writing.delete(at);
          // Acknowledged, but the power went before the answer was heard: that may have taken it back.
          if (outcome === 'done' && crashes === crashesBefore) {
            cellAt(at).possible = new Set([value]);
            if (failedFlushes === failedBefore) cellAt(at).isForgotten = false;
          }
          if (outcome === 'unknown' && crashes === crashesBefore) loose.add(at);
        });
    },
    beginRead(range) {
      const crashesBefore = crashes;
      each(range, (at) => reading.add(at));
      return (bytes) => {
        each(range, (at) => reading.delete(at));
        return bytes === undefined ? undefined : judge(range, bytes, crashes === crashesBefore);
      };
    },
    beginFlush() {
      const crashesBefore = crashes;
      const unflushed = [...cells].filter(
        ([at, { beforeFlush, isForgotten }]) => beforeFlush && !isForgotten && !writing.has(at) && !loose.has(at),
      );
      const seen = unflushed.map(([, cell]) => ({ cell, possible: cell.possible }));
      return () => {
        if (crashes !== crashesBefore) return;
        // A cell written since then has another set of values: that write is not covered.
        for (const { cell, possible } of seen) {
          if (cell.possible === possible && !cell.isForgotten) cell.beforeFlush = undefined;
        }
      };
    },
    failFlush() {
      failedFlushes += 1;
      for (const cell of cells.values()) if (cell.beforeFlush) cell.isForgotten = true;
    },
    crash() {
      crashes += 1;
      loose.clear();
      for (const [at, cell] of [...cells]) {
        if (!cell.beforeFlush) continue;
        const wasHole = cell.beforeFlush.has(zeros);
        for (const value of cell.beforeFlush) cell.possible.add(value);
        cell.beforeFlush = undefined;
        cell.isForgotten = false;
        if (!wasHole) continue;
        const start = at - (at % sectorCells);
        for (let other = start; other < start + sectorCells; other += 1) {
          const neighbour = cellAt(other);
          neighbour.possible = new Set([...neighbour.possible, noise]);
        }
      }
    },
    endSession: () => loose.clear(),
    beginCapture() {
      const capture: Capture = {
        cells: new Map([...cells].map(([at, { possible }]) => [at, new Set(possible)])),
      };
      captures.add(capture);
      return capture;
    },
    endCapture(capture) {
      captures.delete(capture);
      return openContent(capture.cells);
    },
    written: () => [...cells.keys()].sort((a, b) => a - b),
  };
};

const valueText = (value: Value): string => {
  if (value === zeros) return 'zeros';
  return value === noise ? 'noise' : `write ${value}`;
};
