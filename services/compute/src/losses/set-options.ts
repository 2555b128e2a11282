import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** The options of a set that concern its machines. */
export interface OptionsOfSet {
  /** Whether machines that a loss stopped start again when access is restored. */
  readonly autoRestart: boolean;
}

/** The options that sets have published. */
export interface SetOptions {
  /** The options of a set; of an unknown set the default, so that nothing starts by itself (CMK-125). */
  of(set: string): Promise<OptionsOfSet>;
  /** The row that stores the options. */
  put(set: string, options: OptionsOfSet): RowChange;
  /** The row change that removes the options of a deleted set. */
  remove(set: string): RowChange;
}

const defaults: OptionsOfSet = { autoRestart: false };

/** Opens the options stored in a store. */
export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<OptionsOfSet>(store, { name: 'set_options', version: 1 });
  return {
    of: async (set) => (await rows.get(set)) ?? defaults,
    put: (set, options) => rows.put(set, options, undefined),
    remove: (set) => rows.remove(set, defaults),
  };
};
