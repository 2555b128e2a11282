import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** What a set says about itself that disks depend on, beside its key. */
export interface ToldOptions {
  readonly keyExpiry: KeyExpiryPolicy;
}

/** The options of sets, as far as they differ from the default. */
export interface SetOptions {
  /** Whether what runs goes on when the key expires: renewals then leave the expiry out of account (CMK-104). */
  outlivesExpiry(set: string): boolean;
  /** The set was asked: what it says holds until its first fact. An answer on its way is no newer than a fact. */
  note(set: string, told: ToldOptions): void;
  /**
   * Asks a set about the expiry of its key, of which it told something before. What it answers holds until its next fact, unless
   * one has come meanwhile.
   */
  confirm(set: string, ask: () => Promise<ToldOptions>): Promise<void>;
  /** Describes the row of what the set told, and holds it from now on. */
  told(set: string, told: ToldOptions): Promise<RowChange | undefined>;
  /** Describes the end of the row; undefined when there is none. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Reads every row. */
  recall(): Promise<void>;
}

interface StoredOptions {
  readonly keyExpiry: 'STOP' | 'NEXT_START';
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens it. A set that differs once keeps its row until it is deleted: a `note` that arrives late must not replace a fact. */
export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<StoredOptions>(store, { name: 'set_option', version: 1 });
  const known = new Map<string, StoredOptions & { readonly isTold: boolean }>();

  const hold = (set: string, told: ToldOptions, isTold: boolean): StoredOptions => {
    const options = { keyExpiry: policyOf(told.keyExpiry) };
    if (known.has(set) || options.keyExpiry === 'NEXT_START') known.set(set, { ...options, isTold });
    return options;
  };

  return {
    outlivesExpiry: (set) => known.get(set)?.keyExpiry === 'NEXT_START',
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
      return before?.keyExpiry === options.keyExpiry ? undefined : rows.put(set, options, before);
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
