/** One operation on a disk, as the guest itself recorded it. */
export interface Io {
  /** Full name of the disk. */
  readonly disk: string;
  /** `verify`: a read of what an earlier run of the machine wrote. */
  readonly op: 'read' | 'verify' | 'write' | 'flush';
  /** In bytes, like `length`; both 0 for a flush. */
  readonly offset: number;
  readonly length: number;
  /** Number of the written record, or of the expected one. */
  readonly seq: number;
  /** Milliseconds since the epoch. */
  readonly invokedAt: number;
  readonly completedAt: number;
  /** Whether it succeeded; for reads also whether the content is what was written. */
  readonly ok: boolean;
  /** Why not, `CONTENT_MISMATCH` for a wrong content; empty when ok. */
  readonly reason: string;
}

/** A line of the journal; nothing for one that is not I/O, or that the end of a guest cut off. */
export function ioOf(line: string): Io[] {
  if (!line.endsWith('}')) return [];
  const entry = parsed(line);
  const { disk, op, offset, length, seq, invokedAt, completedAt, ok, reason } = entry ?? {};
  if (op !== 'read' && op !== 'verify' && op !== 'write' && op !== 'flush') return [];
  if (typeof disk !== 'string' || !isNumber(invokedAt) || !isNumber(completedAt)) return [];
  return [
    {
      disk,
      op,
      offset: isNumber(offset) ? offset : 0,
      length: isNumber(length) ? length : 0,
      seq: isNumber(seq) ? seq : 0,
      invokedAt,
      completedAt,
      ok: ok === true,
      reason: typeof reason === 'string' ? reason : '',
    },
  ];
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // Two runs wrote this line: the first was killed while it wrote.
    return undefined;
  }
}

/** Whether it moved data, and well. */
const isGoodData = ({ ok, op }: Io): boolean => ok && op !== 'flush';

/** A summary of a machine's I/O in an interval. */
export interface IoSummary {
  readonly machine: string;
  /** Successful reads, including those that check what earlier runs wrote. */
  readonly reads: number;
  readonly writes: number;
  readonly bytes: number;
  /** Operations that failed, however often they were repeated. */
  readonly failed: number;
  /** The first reason of these failures, or empty. */
  readonly failure: string;
  /** Longest time between two completions, the ends of the stretch included, in milliseconds. */
  readonly longestGapMs: number;
  /** Full names of the disks that had a successful read or write. */
  readonly disks: readonly string[];
}

/** Sums up the I/O that was invoked at or after `fromMs` and completed by `toMs`. */
export function summarize(machine: string, journal: readonly Io[], fromMs: number, toMs: number): IoSummary {
  const within = journal.filter(({ invokedAt, completedAt }) => invokedAt >= fromMs && completedAt <= toMs);
  const good = within.filter(isGoodData);
  const failed = within.filter(({ ok }) => !ok);
  const marks = [fromMs, ...good.map(({ completedAt }) => completedAt), toMs];
  return {
    machine,
    reads: good.filter(({ op }) => op !== 'write').length,
    writes: good.filter(({ op }) => op === 'write').length,
    bytes: good.reduce((sum, { length }) => sum + length, 0),
    failed: failed.length,
    failure: failed[0]?.reason ?? '',
    longestGapMs: marks.reduce((longest, mark, at) => Math.max(longest, mark - (marks[at - 1] ?? mark)), 0),
    disks: [...new Set(good.map(({ disk }) => disk))].sort(),
  };
}
