import {
  type Category,
  type Cause,
  type Loaded,
  Rejection,
  type Stepping,
  StoreUnavailable,
} from '@interlock/event-store';
import type { Control } from '../disk/control.ts';

/** What an attempt gives to what it makes, and may leave behind. */
export interface Made {
  readonly uniqueId: string;
  readonly volumeId: string;
}

/** What can be made: a disk or a snapshot. */
type Makeable = Stepping &
  (
    | { readonly status: 'absent' | 'deleting' }
    | ({ readonly status: 'creating' } & Made)
    | { readonly status: 'active'; readonly uniqueId: string }
  );

/** How an attempt ends without a result; both do nothing for another attempt. */
interface Endings<State, Event> {
  /** From here on it cannot succeed. */
  readonly giveUp: (at: number, uniqueId: string) => (state: State) => readonly Event[];
  /** Releases the name. */
  readonly fail: (at: number, uniqueId: string, reason: string) => (state: State) => readonly Event[];
}

type AttemptsControl = Pick<Control, 'host' | 'placement' | 'turns' | 'retries' | 'clock' | 'random' | 'log'>;

/** Makes resources of one kind so that a failure leaves nothing behind (CMK-110). */
export class Attempts<State extends Makeable, Event extends { readonly type: string }> {
  readonly #control: AttemptsControl;
  readonly #kind: Category<State, Event>;
  readonly #ending: Category<State, Event>;
  readonly #decisions: Endings<State, Event>;

  /**
   * @param kind what this host makes
   * @param ending the same, to undo what a lost host was making too
   * @param decisions how an attempt ends
   */
  constructor(
    control: AttemptsControl,
    kind: Category<State, Event>,
    ending: Category<State, Event>,
    decisions: Endings<State, Event>,
  ) {
    this.#control = control;
    this.#kind = kind;
    this.#ending = ending;
    this.#decisions = decisions;
  }

  /**
   * Takes the name with `begin`, then makes the resource in its turn; does nothing if it exists. If a failed attempt cannot be
   * undone at once because the store or the volumes are unreachable, it is undone later, and before the next attempt of the name.
   */
  create(
    name: string,
    begin: (made: Made) => (state: State) => readonly Event[],
    make: () => Promise<Loaded<State>>,
    cause: Cause,
  ): Promise<Loaded<State>> {
    const { turns, placement, random, retries } = this.#control;
    const kind = this.#kind;
    return turns(name, async () => {
      const made = { uniqueId: random.uuid(), volumeId: random.uuid() };
      const beginning = begin(made);
      try {
        const { events } = await placement.begin(kind, name, beginning, cause);
        if (events.length === 0) {
          const found = await kind.load(name);
          if (found.state.status === 'active') return this.#repeated(found, cause);
          // This is the turn of the name, so no call makes it: an earlier attempt ended and was not undone.
          await this.undo(name, 'INTERRUPTED', cause);
          await placement.begin(kind, name, beginning, cause);
        }
      } catch (error) {
        // The commit may be stored nevertheless.
        if (error instanceof StoreUnavailable) retries.add(name, () => this.#undoUncertain(name, made, cause));
        throw error;
      }
      try {
        return await make();
      } catch (error) {
        await this.#undoAfter(error, name, made, cause);
        throw error;
      }
    });
  }

  /** A repeat is answered with the event of the first request. */
  #repeated(found: Loaded<State>, cause: Cause): Loaded<State> {
    const made = found.state.steps?.life;
    if (made !== undefined) cause.tracker?.found(`${this.#kind.definition.name}-${found.id}`, made);
    return found;
  }

  /** Undoes what an ended attempt left; does nothing otherwise. The caller has the turn of the name. */
  async undo(name: string, reason: string, cause: Cause): Promise<void> {
    const { host, clock } = this.#control;
    const state: Makeable = (await this.#ending.load(name)).state;
    if (state.status !== 'creating') return;
    await host.delete(state.volumeId);
    await this.#ending.transact(name, this.#decisions.fail(clock.now(), state.uniqueId, reason), cause, {
      step: 'life',
    });
  }

  /**
   * The commit of an attempt that the store did not respond to may still arrive, and must not find its volume removed: another commit
   * comes first. The record names the volume until it is removed, so that a crash leaves nothing behind.
   */
  async #undoUncertain(name: string, { uniqueId }: Made, cause: Cause): Promise<void> {
    const givenUp = this.#decisions.giveUp(this.#control.clock.now(), uniqueId);
    const state: Makeable = (await this.#kind.transact(name, givenUp, cause, { step: 'life' })).state;
    if (state.status === 'creating' && state.uniqueId === uniqueId) await this.undo(name, 'STORE_UNAVAILABLE', cause);
  }

  /** The caller receives why the attempt failed; if the undo fails, it is repeated later. */
  async #undoAfter(error: unknown, name: string, made: Made, cause: Cause): Promise<void> {
    const { log, retries } = this.#control;
    const reason = error instanceof Rejection ? error.reason : 'INTERNAL';
    const undo = () =>
      error instanceof StoreUnavailable ? this.#undoUncertain(name, made, cause) : this.undo(name, reason, cause);
    await undo().catch((failure: unknown) => {
      log.error('a failed creation could not be undone yet', { [this.#kind.definition.name]: name, error: failure });
      retries.add(name, undo);
    });
  }
}
