import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type EventStore, pagesOf, type RowChange, table } from '@interlock/event-store';

/** The options of a set that disks depend on. */
export interface PublishedOptions {
  readonly keyExpiry: KeyExpiryPolicy;
}

/** Options as stored and in memory. */
export interface StoredOptions {
  readonly keyExpiry: 'STOP' | 'NEXT_START';
}

/**
 * The options of sets in the memory of a process, as far as they differ from the default. One that once differed stays until the set
 * is deleted: a late `note` must not replace a fact.
 */
export class SetOptions {
  readonly #known = new Map<string, StoredOptions & { readonly isPublished: boolean }>();

  /** Whether running disks outlive the expiry of the key: renewals then ignore the expiry (CMK-104). */
  outlivesExpiry(set: string): boolean {
    return this.#known.get(set)?.keyExpiry === 'NEXT_START';
  }

  /** The set replied to a call: its options hold until its first fact, because the reply may be older than a fact. */
  note(set: string, reply: PublishedOptions): void {
    if (this.#known.get(set)?.isPublished !== true) this.#hold(set, reply, false);
  }

  /** Calls a set whose options are known. Its reply holds until its next fact, unless a fact arrived during the call. */
  async confirm(set: string, ask: () => Promise<PublishedOptions>): Promise<void> {
    const before = this.#known.get(set);
    const { keyExpiry } = await ask();
    if (before && this.#known.get(set) === before) this.#known.set(set, { ...before, keyExpiry: policyOf(keyExpiry) });
  }

  /** A fact says the options. */
  published(set: string, options: PublishedOptions): void {
    this.#hold(set, options, true);
  }

  /** The set was deleted. */
  forget(set: string): void {
    this.#known.delete(set);
  }

  /** Sets with facts whose options differ from the default. */
  publishedDifferent(): readonly string[] {
    return [...this.#known].flatMap(([set, { isPublished, keyExpiry }]) =>
      isPublished && keyExpiry === 'NEXT_START' ? [set] : [],
    );
  }

  #hold(set: string, { keyExpiry: received }: PublishedOptions, isPublished: boolean): void {
    const keyExpiry = policyOf(received);
    if (this.#known.has(set) || keyExpiry === 'NEXT_START') this.#known.set(set, { keyExpiry, isPublished });
  }
}

/** The published options in the store, a row for each set whose options once differed from the default. */
export interface OptionTable {
  /** The row that stores the options of a fact; undefined if it need not change. */
  published(set: string, options: PublishedOptions): Promise<RowChange | undefined>;
  /** The removal of the row; undefined if there is no row. */
  forgotten(set: string): Promise<RowChange | undefined>;
  /** The options of every row, by set. */
  list(): AsyncIterable<{ readonly set: string } & StoredOptions>;
}

/** Rows read at once. */
const pageSize = 1_000;

/** Opens the table in a store. */
export const openOptionTable = (store: EventStore): OptionTable => {
  const rows = table<StoredOptions>(store, { name: 'set_option', version: 1 });
  return {
    async published(set, received) {
      const keyExpiry = policyOf(received.keyExpiry);
      const before = await rows.get(set);
      return keyExpiry === (before?.keyExpiry ?? 'STOP') ? undefined : rows.put(set, { keyExpiry }, before);
    },
    async forgotten(set) {
      const before = await rows.get(set);
      return before && rows.remove(set, before);
    },
    async *list() {
      for await (const page of pagesOf(rows, { limit: pageSize }))
        for (const { key: set, row } of page) yield { set, ...row };
    },
  };
};

/** The policy; the default if the set does not say. */
const policyOf = (policy: KeyExpiryPolicy): StoredOptions['keyExpiry'] =>
  policy === 'NEXT_START' ? 'NEXT_START' : 'STOP';
