import { type Category, type Cause, type Loaded, type Rejection, StoreUnavailable } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { Sessions } from '../host/data/sessions.ts';
import { close } from './attachment-decider.ts';
import type { DiskEvent } from './events.ts';
import { type Disk, evolve } from './state.ts';
import { inTurnsOf, type Turns } from './turns.ts';

/** A wish to end what a machine does with a disk. */
export interface ClosingWish {
  readonly name: string;
  readonly virtualMachine: string;
  readonly isDeallocated: boolean;
  /** 0 for any. */
  readonly attachEpoch: number;
}

/** The disk as it is then, or why it is not closed. */
export type ClosingOutcome = { readonly disk: Loaded<Disk> } | { readonly refused: Rejection };

/**
 * Ends the reads and writes of machines on their disks: those of one call in one commit, each decided as if it had come alone.
 * A session the events know no longer ends with it.
 * @returns what became of each, in order
 */
export type Closing = (wishes: readonly ClosingWish[], cause: Cause) => Promise<readonly ClosingOutcome[]>;

/** Opens it. */
export const openClosing = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly sessions: Pick<Sessions, 'end' | 'doubt'>;
  readonly turns: Turns;
  readonly clock: Clock;
}): Closing => {
  const { disks, sessions, turns, clock } = parts;

  /** In the turns of these disks. */
  const closeThose = async (
    wanted: ReadonlyMap<string, readonly ClosingWish[]>,
    cause: Cause,
  ): Promise<readonly (readonly [string, ClosingOutcome])[]> => {
    const at = clock.now();
    const found = new Map<string, Loaded<Disk>>();
    const { changed, rejected } = await disks.transactMany(
      [...wanted.keys()],
      (state, id, version) => {
        found.set(id, { id, state, version });
        const events: DiskEvent[] = [];
        let disk = state;
        for (const { virtualMachine, isDeallocated, attachEpoch } of wanted.get(id) ?? []) {
          const more = close(at, virtualMachine, isDeallocated, attachEpoch)(disk);
          events.push(...more);
          disk = more.reduce(evolve, disk);
        }
        return events;
      },
      cause,
      // One that others keep changing is no reason to keep the sessions of those that are closed.
      { onContention: 'reject' },
    );
    for (const disk of changed) found.set(disk.id, disk);
    for (const { id } of rejected) found.delete(id);
    for (const { id, state } of found.values()) {
      if (state.status !== 'active' || state.access === null) sessions.end(id);
    }
    return [
      ...[...found].map(([id, disk]) => [id, { disk }] as const),
      ...rejected.map(({ id, rejection }) => [id, { refused: rejection }] as const),
    ];
  };

  return async (wishes, cause) => {
    const wanted = Map.groupBy(wishes, ({ name }) => name);
    const isFree = Map.groupBy(wanted, ([name]) => turns.isFree(name));
    // What somebody works on has to be waited for, and the others are not to wait with it.
    const groups = [isFree.get(true) ?? [], ...(isFree.get(false) ?? []).map((one) => [one])];
    const settled = await Promise.all(
      groups.map((group) =>
        inTurnsOf(
          turns,
          group.map(([name]) => name),
          () =>
            closeThose(new Map(group), cause).catch((error: unknown) => {
              if (error instanceof StoreUnavailable) for (const [name] of group) sessions.doubt(name);
              throw error;
            }),
        ),
      ),
    );
    const outcomes = new Map(settled.flat());
    return wishes.map(({ name }) => {
      const outcome = outcomes.get(name);
      if (!outcome) throw new Error(`nothing came of closing ${name}`);
      return outcome;
    });
  };
};
