import type { EventOf, Upcasters } from './event-codec.ts';
import type { ReadableFields } from './readable-fields.ts';
import type { IndexEntry } from './store.ts';

/** How the streams of one kind are folded, stored and found. */
export interface CategoryDefinition<State, Event extends EventOf> {
  /** First part of the stream names; lower case, without hyphens. */
  readonly name: string;
  /** Version of the state's shape. Raise it with every new shape: the rows are rebuilt from the events, never migrated. */
  readonly stateVersion: number;
  readonly initial: State;
  /** `version` of the event in its stream: 1 for the first. */
  readonly evolve: (state: State, event: Event, version: number) => State;
  /** Converts old event shapes while reading. The current schema of a type is its highest key plus 1; 1 without an entry. */
  readonly upcast?: Upcasters;
  /** The (index, value) pairs under which a stream is listed. A pure function of the state. */
  readonly indexes?: (state: State, id: string) => readonly IndexEntry[];
  /** Fields of its events that operators may read (`ReadEvents`); by default none. */
  readonly readable?: ReadableFields<Event>;
  /** True for a state that counts as never written (a purged key): its row is removed. */
  readonly isGone?: (state: State) => boolean;
}

/** A folded stream. `version` is 0 for a stream without events. */
export interface Loaded<State> {
  readonly id: string;
  readonly state: State;
  readonly version: number;
  /**
   * Every index entry that an earlier state may have left. Present only when the row was missing or older than the stream,
   * so that the state was folded from the events.
   */
  readonly formerEntries?: readonly IndexEntry[];
}
