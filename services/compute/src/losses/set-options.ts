import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** What the owner of a set wants for the machines on its disks. */
export interface OptionsOfSet {
  /** Whether machines that a loss stopped start again once the key is back. */
  readonly autoRestart: boolean;
}

/** What compute was told about sets. */
export interface SetOptions {
  /** Of a set that was never told about: nothing starts by itself (CMK-125). */
  of(set: string): Promise<OptionsOfSet>;
  /** Describes what a set's owner wants from now on. */
  put(set: string, options: OptionsOfSet): RowChange;
  /** Describes that a set is gone: another one of its name begins anew. */
  forgotten(set: string): RowChange;
}

const untold: OptionsOfSet = { autoRestart: false };

export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<OptionsOfSet>(store, { name: 'set_options', version: 1 });
  return {
    of: async (set) => (await rows.get(set)) ?? untold,
    put: (set, options) => rows.put(set, options, undefined),
    forgotten: (set) => rows.remove(set, untold),
  };
};
