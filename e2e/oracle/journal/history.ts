import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Io, ioOf } from './journal.ts';

/** One operation of a guest as it recorded it, with both of its clocks. */
export interface Recorded extends Io {
  /** Full name. */
  readonly machine: string;
  /** Milliseconds of the monotonic clock all guests of the host share: for durations. The wall clock is for order with t0. */
  readonly invokedMonotonicMs: number;
  readonly completedMonotonicMs: number;
}

/** All that guests ever recorded, by completion. */
export type History = readonly Recorded[];

/**
 * Reads the journals of machines.
 * @param folder where compute keeps its guests, each in a folder of the machine's full name
 * @param machines full names
 */
export const readHistory = (folder: string, machines: readonly string[]): History =>
  machines
    .flatMap((machine) => linesOf(join(folder, ...machine.split('/'), 'io.jsonl')).flatMap(recordedBy(machine)))
    .sort((one, other) => one.completedMonotonicMs - other.completedMonotonicMs);

/** A journal that is full begins a new file and leaves one older one. */
const linesOf = (path: string): readonly string[] =>
  [`${path}.1`, path].filter((file) => existsSync(file)).flatMap((file) => readFileSync(file, 'utf8').split('\n'));

/** The operation of a line of a journal; none for a line that is no I/O. */
export const recordedBy =
  (machine: string) =>
  (line: string): Recorded[] =>
    ioOf(line).map((io) => {
      const { invokedMonotonicMs, completedMonotonicMs } = JSON.parse(line);
      return { ...io, machine, invokedMonotonicMs, completedMonotonicMs };
    });
