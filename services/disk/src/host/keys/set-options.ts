import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** The options of a set that disks depend on. */
export interface PublishedOptions {
  readonly keyExpiry: KeyExpiryPolicy;
}

/** The options of sets, as far as they differ from the default. */
export interface SetOptions {
  /** Whether running disks outlive the expiry of the key: renewals then ignore the expiry (CMK-104). */
  outlivesExpiry(set: string): boolean;
  /** The set replied to a call: its options hold until its first fact, because the reply may be older than a fact. */
  note(set: string, reply: PublishedOptions): void;
  /**
   * Calls a set whose options are known. Its reply holds until its next fact, unless a fact arrived during the call.
   */
  confirm(set: string, ask: () => Promise<PublishedOptions>): Promise<void>;
  /** Applies the options of a fact. @returns the row that stores them; undefined if it need not change */
  published(set: string, options: PublishedOptions): Promise<RowChange | undefined>;
  /** The removal of the row; undefined if there is no row. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Reads every row. */
  recall(): Promise<void>;
}

interface StoredOptions {
  readonly keyExpiry: 'STOP' | 'NEXT_START';
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens the options. A set that once differed keeps its row until it is deleted: a late `note` must not replace a fact. */
export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<StoredOptions>(store, { name: 'set_option', version: 1 });
  const known = new Map<string, StoredOptions & { readonly isPublished: boolean }>();

  const hold = (set: string, received: PublishedOptions, isPublished: boolean): StoredOptions => {
    const options = { keyExpiry: policyOf(received.keyExpiry) };
    if (known.has(set) || options.keyExpiry === 'NEXT_START') known.set(set, { ...options, isPublished });
    return options;
  };

  return {
    outlivesExpiry: (set) => known.get(set)?.keyExpiry === 'NEXT_START',
    note: (set, reply) => {
      if (known.get(set)?.isPublished !== true) hold(set, reply, false);
    },
    async confirm(set, ask) {
      const before = known.get(set);
      const { keyExpiry } = await ask();
      if (before && known.get(set) === before) known.set(set, { ...before, keyExpiry: policyOf(keyExpiry) });
    },
    async published(set, received) {
      const options = hold(set, received, true);
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
        for (const { key, row } of page.items) known.set(key, { ...row, isPublished: true });
        after = page.next;
      } while (after !== undefined);
    },
  };
};

/** The policy; the default if the set does not say. */
const policyOf = (policy: KeyExpiryPolicy): StoredOptions['keyExpiry'] =>
  policy === 'NEXT_START' ? 'NEXT_START' : 'STOP';
