import { type Category, type Cause, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Turns } from '../disk/turns.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { Settling } from './settling.ts';

/** What an attempt gives what it makes, and may leave behind. */
export interface Made {
  readonly uniqueId: string;
  readonly volumeId: string;
}

/** What can be made: a disk or a snapshot. */
type Makeable =
  | { readonly status: 'absent' | 'deleting' }
  | ({ readonly status: 'creating' } & Made)
  | { readonly status: 'active'; readonly uniqueId: string };

/** Makes things of one kind, so that nothing half-made remains (CMK-110). */
export interface Attempts<State, Event> {
  /**
   * Takes the name with `begin`, then makes what has it, in its turn; does nothing where that was done. What cannot be undone
   * at once, because the store or the volumes are away, is undone as soon as they are back, and before the next attempt under
   * the same name.
   */
  create(
    name: string,
    begin: (made: Made) => (state: State) => readonly Event[],
    make: () => Promise<Loaded<State>>,
    cause: Cause,
  ): Promise<Loaded<State>>;
  /** Undoes what is left of an attempt that is over; does nothing otherwise. The caller has the turn of the name. */
  undo(name: string, reason: string, cause: Cause): Promise<void>;
}

/** Opens it for one kind. @param parts.fail gives the name back, where that very attempt has it */
export const openAttempts = <State extends Makeable, Event extends { readonly type: string }>(parts: {
  readonly kind: Category<State, Event>;
  readonly fail: (at: number, uniqueId: string, reason: string) => (state: State) => readonly Event[];
  readonly volumes: Pick<Volumes, 'remove'>;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Pick<Logger, 'error'>;
}): Attempts<State, Event> => {
  const { kind, fail, volumes, turns, settling, clock, random, log } = parts;

  const undo: Attempts<State, Event>['undo'] = async (name, reason, cause) => {
    const state: Makeable = (await kind.load(name)).state;
    if (state.status !== 'creating') return;
    await volumes.remove(state.volumeId);
    await kind.transact(name, fail(clock.now(), state.uniqueId, reason), cause);
  };

  /** After a store that did not answer, `finish` may still arrive: the name is taken from it before the volume goes. */
  const undoUnsure = async (name: string, { volumeId, uniqueId }: Made, cause: Cause): Promise<void> => {
    const failed = await kind.transact(name, fail(clock.now(), uniqueId, 'STORE_UNAVAILABLE'), cause);
    const state: Makeable = failed.state;
    if (state.status !== 'active' || state.uniqueId !== uniqueId) await volumes.remove(volumeId);
  };

  /** What made the attempt fail is what the caller must hear; a leftover that stays for now is undone later. */
  const undoAfter = async (error: unknown, name: string, made: Made, cause: Cause): Promise<void> => {
    const reason = error instanceof Rejection ? error.reason : 'INTERNAL';
    const undone = () =>
      error instanceof StoreUnavailable ? undoUnsure(name, made, cause) : undo(name, reason, cause);
    await undone().catch((failure: unknown) => {
      log.error('a failed creation could not be undone yet', { [kind.definition.name]: name, error: failure });
      settling.later(name, undone);
    });
  };

  return {
    undo,
    create: (name, begin, make, cause) =>
      turns(name, async () => {
        const made = { uniqueId: random.uuid(), volumeId: random.uuid() };
        const beginning = begin(made);
        try {
          const { events } = await kind.transact(name, beginning, cause);
          if (events.length === 0) {
            const found = await kind.load(name);
            if (found.state.status === 'active') return found;
            // Nobody else makes it, for this is its turn: an earlier attempt ended without being undone.
            await undo(name, 'INTERRUPTED', cause);
            await kind.transact(name, beginning, cause);
          }
        } catch (error) {
          // Not answered, and stored perhaps.
          if (error instanceof StoreUnavailable) settling.later(name, () => undoUnsure(name, made, cause));
          throw error;
        }
        try {
          return await make();
        } catch (error) {
          await undoAfter(error, name, made, cause);
          throw error;
        }
      }),
  };
};
