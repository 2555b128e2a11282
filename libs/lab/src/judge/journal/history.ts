import { join } from 'node:path';
import { type Io, ioOf } from './journal.ts';
import { journalLines } from './lines.ts';

/** One operation of a guest as it recorded it, with both of its clocks. */
export interface Recorded extends Io {
  /** Full name. */
  readonly machine: string;
  /** The VM host where the guest ran: `vm-host-0`; absent if compute ran it. */
  readonly vmHost?: string;
  /** Milliseconds of the monotonic clock that all guests of the host share, for durations. The wall clock gives the order relative to t0. */
  readonly invokedMonotonicMs: number;
  readonly completedMonotonicMs: number;
}

/** All that guests ever recorded, by completion. */
export type History = readonly Recorded[];

/** A folder of guests, each in a folder with the full name of its machine. */
export interface GuestFolder {
  readonly path: string;
  /** The VM host that runs them: `vm-host-0`; absent if compute does. */
  readonly vmHost?: string;
}

/**
 * Opens the journals of machines. A machine that ran at several VM hosts has a journal at each.
 * @param folders where its guests are: the folder of compute, or that of each VM host too
 * @param machines full names
 * @returns reads all operations up to now, by completion; each call reads only new content of the files
 */
export const openHistory = (folders: string | readonly GuestFolder[], machines: readonly string[]): (() => History) => {
  const all = typeof folders === 'string' ? [{ path: folders }] : folders;
  const tails = all.flatMap(({ path, vmHost }: GuestFolder) =>
    machines.map((machine) => ({
      of: recordedBy(machine, vmHost),
      // A machine that starts at another VM host leaves its journal, which compute removes.
      lines: journalLines(join(path, ...machine.split('/'), 'io.jsonl'), vmHost !== undefined),
    })),
  );
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

/** The operation in a line of a journal; none for a line that is not I/O. @param vmHost where the guest ran */
export const recordedBy =
  (machine: string, vmHost?: string) =>
  (line: string): Recorded[] =>
    ioOf(line).map((io) => {
      const { invokedMonotonicMs, completedMonotonicMs } = JSON.parse(line);
      return { ...io, machine, invokedMonotonicMs, completedMonotonicMs, ...(vmHost === undefined ? {} : { vmHost }) };
    });
