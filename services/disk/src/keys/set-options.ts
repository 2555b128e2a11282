import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type EventStore, type RowChange, table } from '@interlock/event-store';

/** What a lease of a set depends on beside its key. */
export interface SetOptions {
  /** Whether what runs goes on when the key expires: renewals then leave the expiry out of account (CMK-104). */
  outlivesExpiry(set: string): boolean;
  /** The set was asked: what it says holds until its next fact. */
  note(set: string, keyExpiry: KeyExpiryPolicy): void;
  /** Describes the row of what the set told, and holds it from now on. */
  told(set: string, keyExpiry: KeyExpiryPolicy): Promise<RowChange | undefined>;
  /** Describes the end of the row; undefined when there is none. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** Reads every row. */
  recall(): Promise<void>;
}

/** Rows read at once while recalling. */
const pageSize = 1_000;

/** Opens it. Rows and memory hold the sets that differ from the default alone. */
export const openSetOptions = (store: EventStore): SetOptions => {
  const rows = table<{ readonly keyExpiry: 'NEXT_START' }>(store, { name: 'set_option', version: 1 });
  const outliving = new Set<string>();
  const note = (set: string, keyExpiry: KeyExpiryPolicy): void => {
    if (keyExpiry === 'NEXT_START') outliving.add(set);
    else outliving.delete(set);
  };
  const forgotten = async (set: string): Promise<RowChange | undefined> => {
    outliving.delete(set);
    const before = await rows.get(set);
    return before && rows.remove(set, before);
  };
  return {
    outlivesExpiry: (set) => outliving.has(set),
    note,
    async told(set, keyExpiry) {
      if (keyExpiry !== 'NEXT_START') return forgotten(set);
      const before = await rows.get(set);
      note(set, keyExpiry);
      return before ? undefined : rows.put(set, { keyExpiry }, undefined);
    },
    forgotten,
    async recall() {
      let after: string | undefined;
      do {
        const page: Awaited<ReturnType<typeof rows.list>> = await rows.list({
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        for (const { key, row } of page.items) note(key, row.keyExpiry);
        after = page.next;
      } while (after !== undefined);
    },
  };
};
