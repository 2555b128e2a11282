/** Bytes of which storage writes all or none: the unit of content here. */
export const cellBytes = 512;
/** Cells of one 4 KiB sector. */
export const sectorCells = 8;

/** Content of a cell: the number of its write, `zeros`, or `noise`. */
type Value = number;
const zeros: Value = 0;
/** Ciphertext in half a sector that was a hole before: a torn first write may leave it (the torn-write rule). */
const noise: Value = -1;

interface Cell {
  /** What a read may return now: one value, unless a write is in progress or its outcome unknown. */
  possible: Set<Value>;
  /** What a crash may restore; absent if all of `possible` is on stable storage. */
  beforeFlush: Set<Value> | undefined;
  /** Whether a failed flush lost it: no later flush covers it until it is written again. */
  isForgotten: boolean;
}

/** Cells of an operation. */
export interface CellRange {
  readonly first: number;
  readonly count: number;
}

/** A copy of a disk in progress: what it may hold in each cell. */
export interface Capture {
  readonly cells: Map<number, Set<Value>>;
}

/** Bytes that a cell repeats to its end: the number of the write, and a hash of number and place. */
const markBytes = 8;
const hashOf = (cell: number, value: Value): number =>
  (Math.imul(cell + 1, 0x9e3779b1) ^ Math.imul(value, 0x85ebca6b)) >>> 0;

/** Bytes of a range written by one write. */
export const rangeContent = ({ first, count }: CellRange, value: Value): Buffer => {
  const bytes = Buffer.alloc(count * cellBytes);
  const mark = Buffer.alloc(markBytes);
  mark.writeUInt32BE(value, 0);
  for (let n = 0; n < count; n += 1) {
    mark.writeUInt32BE(hashOf(first + n, value), 4);
    bytes.fill(mark, n * cellBytes, (n + 1) * cellBytes);
  }
  return bytes;
};

const onlyZeros: ReadonlySet<Value> = new Set([zeros]);

/** The write from which a cell's content comes. The cell starts at `at`. Cells are not copied, because a read has hundreds. */
const sourceOf = (cell: number, bytes: Buffer, at: number): Value => {
  const claimed = bytes.readUInt32BE(at);
  const hash = claimed === zeros ? 0 : hashOf(cell, claimed);
  const end = at + cellBytes;
  const isWhole =
    bytes.readUInt32BE(at + 4) === hash && bytes.compare(bytes, at, end - markBytes, at + markBytes, end) === 0;
  return isWhole ? claimed : noise;
};

const each = ({ first, count }: CellRange, work: (at: number) => void): void => {
  for (let at = first; at < first + count; at += 1) work(at);
};

const valueText = (value: Value): string => {
  if (value === zeros) return 'zeros';
  return value === noise ? 'noise' : `write ${value}`;
};

/**
 * What one disk may hold after all writes to it. Every write has its own number, which its bytes contain, so
 * that a read shows from which write its content comes.
 */
export class DiskContent {
  readonly #cells: Map<number, Cell>;
  /** Cells with a write, and with a read, in progress. */
  readonly #writing = new Set<number>();
  readonly #reading = new Set<number>();
  /** Cells with a write of unknown outcome that may still take effect. */
  readonly #loose = new Set<number>();
  readonly #captures = new Set<Capture>();
  #crashes = 0;
  #failedFlushes = 0;

  /** @param from what a copy may hold: it is flushed before it is recorded */
  constructor(from: ReadonlyMap<number, ReadonlySet<Value>> = new Map()) {
    this.#cells = new Map(
      [...from].map(([at, possible]) => [
        at,
        { possible: new Set(possible), beforeFlush: undefined, isForgotten: false },
      ]),
    );
  }

  /** Whether no operation in progress or of unknown outcome touches the range: operations of one disk never overlap. */
  isFree({ first, count }: CellRange): boolean {
    for (let at = first; at < first + count; at += 1) {
      if (this.#writing.has(at) || this.#reading.has(at) || this.#loose.has(at)) return false;
    }
    return true;
  }

  /** Call the result at the end of the write: `unknown` and `refused` leave each sector old or new; an unknown one may take effect later. */
  beginWrite(range: CellRange, value: Value): (outcome: 'done' | 'refused' | 'unknown') => void {
    const [crashes, failedFlushes] = [this.#crashes, this.#failedFlushes];
    each(range, (at) => {
      this.#writing.add(at);
      const cell = this.#cellAt(at);
      // Each of several writes since a flush may have reached stable storage separately.
      cell.beforeFlush = new Set([...(cell.beforeFlush ?? []), ...cell.possible]);
      // A new set, because a flush in progress does not cover this write.
      cell.possible = new Set([...cell.possible, value]);
      for (const { cells } of this.#captures) cells.set(at, new Set([...(cells.get(at) ?? [zeros]), value]));
    });
    return (outcome) =>
      each(range, (at) => {
        this.#writing.delete(at);
        // If power was lost before the response arrived, the crash may have undone an acknowledged write.
        if (crashes !== this.#crashes) return;
        if (outcome === 'unknown') this.#loose.add(at);
        if (outcome !== 'done') return;
        const cell = this.#cellAt(at);
        cell.possible = new Set([value]);
        if (failedFlushes === this.#failedFlushes) cell.isForgotten = false;
      });
  }

  /** Call the result with what was read. It returns the problem as a text, or undefined. */
  beginRead(range: CellRange): (bytes: Uint8Array | undefined) => string | undefined {
    const crashes = this.#crashes;
    each(range, (at) => this.#reading.add(at));
    return (bytes) => {
      each(range, (at) => this.#reading.delete(at));
      return bytes === undefined ? undefined : this.#compare(range, bytes, crashes === this.#crashes);
    };
  }

  /** Writes acknowledged now are durable once this flush is acknowledged. Call the result then. */
  beginFlush(): () => void {
    const crashes = this.#crashes;
    const unflushed = [...this.#cells].filter(
      ([at, { beforeFlush, isForgotten }]) =>
        beforeFlush && !isForgotten && !this.#writing.has(at) && !this.#loose.has(at),
    );
    const seen = unflushed.map(([, cell]) => ({ cell, possible: cell.possible }));
    return () => {
      if (crashes !== this.#crashes) return;
      // A cell written since then has another set of values, because this flush does not cover that write.
      for (const { cell, possible } of seen) {
        if (cell.possible === possible && !cell.isForgotten) cell.beforeFlush = undefined;
      }
    };
  }

  /** The storage failed a flush: a later flush covers nothing that was written before it. */
  failFlush(): void {
    this.#failedFlushes += 1;
    for (const cell of this.#cells.values()) if (cell.beforeFlush) cell.isForgotten = true;
  }

  /** The storage lost power: data that was not flushed may be old, new, or torn. */
  crash(): void {
    this.#crashes += 1;
    this.#loose.clear();
    for (const [at, cell] of [...this.#cells]) {
      if (!cell.beforeFlush) continue;
      const wasHole = cell.beforeFlush.has(zeros);
      for (const value of cell.beforeFlush) cell.possible.add(value);
      cell.beforeFlush = undefined;
      cell.isForgotten = false;
      if (!wasHole) continue;
      const start = at - (at % sectorCells);
      for (let other = start; other < start + sectorCells; other += 1) {
        const neighbour = this.#cellAt(other);
        neighbour.possible = new Set([...neighbour.possible, noise]);
      }
    }
  }

  /** The session has ended: a write of unknown outcome cannot take effect any more. */
  endSession(): void {
    this.#loose.clear();
  }

  beginCapture(): Capture {
    const cells = new Map([...this.#cells].map(([at, { possible }]) => [at, new Set(possible)]));
    const capture: Capture = { cells };
    this.#captures.add(capture);
    return capture;
  }

  endCapture(capture: Capture): DiskContent {
    this.#captures.delete(capture);
    return new DiskContent(capture.cells);
  }

  /** Cells that were ever written, in order. */
  written(): readonly number[] {
    return [...this.#cells.keys()].sort((a, b) => a - b);
  }

  #cellAt(at: number): Cell {
    const found = this.#cells.get(at) ?? { possible: new Set([zeros]), beforeFlush: undefined, isForgotten: false };
    this.#cells.set(at, found);
    return found;
  }

  /** @param isFixed whether the content has not changed since: then the read decides what the cell holds */
  #compare(range: CellRange, bytes: Uint8Array, isFixed: boolean): string | undefined {
    if (bytes.length !== range.count * cellBytes) {
      return `${bytes.length} bytes instead of ${range.count * cellBytes}`;
    }
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let n = 0; n < range.count; n += 1) {
      const at = range.first + n;
      const value = sourceOf(at, whole, n * cellBytes);
      const cell = this.#cells.get(at);
      const possible = cell?.possible ?? onlyZeros;
      if (!possible.has(value)) {
        return `cell ${at} holds ${valueText(value)}, not ${[...possible].map(valueText).join(' or ')}`;
      }
      // Noise may be any bytes, so reading it decides nothing.
      if (cell && isFixed && possible.size > 1 && !this.#loose.has(at) && value !== noise)
        cell.possible = new Set([value]);
    }
    return undefined;
  }
}
