import { join } from 'node:path';
import { type Io, ioOf } from './journal.ts';
import { journalLines } from './lines.ts';

/** One operation of a guest as it recorded it, with both of its clocks. */
export interface Recorded extends Io {
  /** Full name. */
  readonly machine: string;
  /** Milliseconds of the monotonic clock that all guests of the host share, for durations. The wall clock gives the order relative to t0. */
  readonly invokedMonotonicMs: number;
  readonly completedMonotonicMs: number;
}

/** All that guests ever recorded, by completion. */
export type History = readonly Recorded[];

/**
 * Opens the journals of machines.
 * @param folder where compute keeps its guests, each in a folder with the machine's full name
 * @param machines full names
 * @returns reads all operations up to now, by completion; each call reads only new content of the files
 */
export const openHistory = (folder: string, machines: readonly string[]): (() => History) => {
  const tails = machines.map((machine) => ({
    of: recordedBy(machine),
    lines: journalLines(join(folder, ...machine.split('/'), 'io.jsonl')),
  }));
  let history: History = [];
  return () => {
    const added = tails.flatMap(({ of, lines }) => lines().flatMap(of));
    if (added.length > 0)
      history = [...history, ...added].sort((one, other) => one.completedMonotonicMs - other.completedMonotonicMs);
    return history;
  };
};

/** All operations of machines up to now, as `openHistory` reads them. */
export const readHistory = (folder: string, machines: readonly string[]): History => openHistory(folder, machines)();

/** The operation in a line of a journal; none for a line that is not I/O. */
export const recordedBy =
  (machine: string) =>
  (line: string): Recorded[] =>
    ioOf(line).map((io) => {
      const { invokedMonotonicMs, completedMonotonicMs } = JSON.parse(line);
      return { ...io, machine, invokedMonotonicMs, completedMonotonicMs };
    });
