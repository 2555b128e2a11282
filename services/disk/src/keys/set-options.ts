import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** What a set says about itself that disks depend on, beside its key. */
export interface ToldOptions {
  readonly keyExpiry: KeyExpiryPolicy;
  /** Full name; `''` for none. */
  readonly standbyKeyVersion: string;
  /** From which generation on that is so. */
  readonly generation: number;
}

/** The options of sets, as far as they differ from the default. */
export interface SetOptions {
  /** Whether what runs goes on when the key expires: renewals then leave the expiry out of account (CMK-104). */
  outlivesExpiry(set: string): boolean;
  /** The version every DEK of the set is wrapped under as well; `''` for none. */
  standbyOf(set: string): string;
  /** From which generation on that is so: what is under an older one keeps the standby wrap it has, to move from it. */
  standbySince(set: string): number;
  /** Whether its disks may have a wrap under a standby key: it has one, or may have had. */
  mayHaveStandby(set: string): boolean;
  /** Every set of which that is so. */
  withStandby(): readonly string[];
  /** The set was asked: what it says holds until its first fact. An answer on its way is no newer than a fact. */
  note(set: string, told: ToldOptions): void;
  /**
   * Asks a set about the expiry of its key, of which it told something before. What it answers holds until its next fact, unless
   * one has come meanwhile.
   */
  confirm(set: string, ask: () => Promise<Pick<ToldOptions, 'keyExpiry'>>): Promise<void>;
  /** Describes the row of what the set told, and holds it from now on. */
  told(set: string, told: ToldOptions): Promise<RowChange | undefined>;
  /** Describes the end of the row; undefined when there is none. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Reads every row. */
  recall(): Promise<void>;
}

interface StoredOptions {
  readonly keyExpiry: 'STOP' | 'NEXT_START';
  readonly standbyKeyVersion: string;
  /** Absent in rows from before it was told: for every generation. */
  readonly generation?: number;
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens it. A set that differs once keeps its row until it is deleted, so that it is known what may be left of a standby. */
export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<StoredOptions>(store, { name: 'set_option', version: 1 });
  const known = new Map<string, StoredOptions & { readonly isTold: boolean }>();

  const hold = (set: string, told: ToldOptions, isTold: boolean): StoredOptions => {
    const { standbyKeyVersion, generation } = told;
    const options = { keyExpiry: policyOf(told.keyExpiry), standbyKeyVersion, generation };
    const differs = options.keyExpiry === 'NEXT_START' || standbyKeyVersion !== '';
    if (known.has(set) || differs) known.set(set, { ...options, isTold });
    return options;
  };

  return {
    outlivesExpiry: (set) => known.get(set)?.keyExpiry === 'NEXT_START',
    standbyOf: (set) => known.get(set)?.standbyKeyVersion ?? '',
    standbySince: (set) => known.get(set)?.generation ?? 0,
    mayHaveStandby: (set) => known.has(set),
    withStandby: () => [...known.keys()],
    note: (set, asked) => {
      if (known.get(set)?.isTold !== true) hold(set, asked, false);
    },
    async confirm(set, ask) {
      const before = known.get(set);
      const { keyExpiry } = await ask();
      if (before && known.get(set) === before) known.set(set, { ...before, keyExpiry: policyOf(keyExpiry) });
    },
    async told(set, told) {
      const options = hold(set, told, true);
      if (!known.has(set)) return undefined;
      const before = await rows.get(set);
      const isSame =
        before?.keyExpiry === options.keyExpiry &&
        before.standbyKeyVersion === options.standbyKeyVersion &&
        before.generation === options.generation;
      return isSame ? undefined : rows.put(set, options, before);
    },
    async forgotten(set) {
      known.delete(set);
      const before = await rows.get(set);
      return before && rows.remove(set, before);
    },
    async recall() {
      let after: string | undefined;
      do {
        const page: Awaited<ReturnType<typeof rows.list>> = await rows.list({
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        for (const { key, row } of page.items) known.set(key, { ...row, isTold: true });
        after = page.next;
      } while (after !== undefined);
    },
  };
};

/** What a set says nothing of is as by default. */
const policyOf = (told: KeyExpiryPolicy): StoredOptions['keyExpiry'] => (told === 'NEXT_START' ? 'NEXT_START' : 'STOP');
