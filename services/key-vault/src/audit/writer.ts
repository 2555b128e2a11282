import { type EventStore, type RowChange, StoreUnavailable, table } from '@interlock/event-store';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { type AuditEntry, type AuditRow, auditTable, rowKeyOf, rowOf, timeInKey } from './entry.ts';

/** An entry, and the vault whose record it belongs to. */
export interface VaultEntry {
  readonly vault: string;
  /** When the vault was created, if known: its record starts there, whatever the clock of this replica says. */
  readonly madeAt?: Instant;
  readonly entry: AuditEntry;
}

/** What one request stores. */
export interface AuditRecord {
  readonly entries: readonly VaultEntry[];
  readonly also: readonly RowChange[];
}

interface Waiting extends AuditRecord {
  /** When the write was requested: after a purge, entries of earlier requests belong to the record of the purged vault. */
  readonly at: Instant;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

/** Rows of one process within a millisecond keep their order up to this number. */
const sequenceMax = 1_000_000;
/** Entries of one row: enough to share its cost, and few enough to read for one of them. */
const entriesPerRow = 64;
/** Writes of one commit: some 2 ms of the event loop. */
const writesPerCommit = 256;
/** With so many writes waiting, the commit costs little for each, so they do not wait for more. */
const enoughWrites = 64;
/**
 * Longest time in ms a write waits for announced ones: about as long as a message to an RSA thread takes. A commit for one
 * entry costs as much as thirty entries cost within a commit.
 */
const patienceMs = 4;

/**
 * Stores entries. All writes during a commit share the next one, and similar entries in it share a row, because a row with
 * its index entries costs many times as much as an entry within it.
 */
export class AuditWriter {
  readonly #store: EventStore;
  readonly #clock: Pick<Clock, 'now' | 'alarm'>;
  readonly #random: Pick<Random, 'bytes'>;
  readonly #waiting: Waiting[] = [];
  #isWriting = false;
  #announced = 0;
  #patience: { cancel(): void } | undefined;
  #sequence = 0;

  constructor(parts: {
    readonly store: EventStore;
    readonly clock: Pick<Clock, 'now' | 'alarm'>;
    readonly random: Pick<Random, 'bytes'>;
  }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /** Stores these entries, and `also` with them, all or nothing. */
  write(entries: readonly VaultEntry[], also: readonly RowChange[] = []): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ at: this.#clock.now(), entries, also, resolve, reject });
      this.#writeSoon();
    });
  }

  /** Stores several records, each all or nothing. @returns for each record why it is not stored; undefined: it is stored */
  async writeEach(records: readonly AuditRecord[]): Promise<readonly unknown[]> {
    const writes = records.map(({ entries, also }) =>
      entries.length + also.length === 0 ? undefined : this.write(entries, also),
    );
    const outcomes = await Promise.allSettled(writes);
    return outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined));
  }

  /**
   * Announces a write: other writes wait for it up to 4 ms, to share its commit. Without an announcement they do not wait.
   * @returns withdraws the announcement, because the write is here or will not come
   */
  expect(): () => void {
    this.#announced += 1;
    let isAnnounced = true;
    return () => {
      if (!isAnnounced) return;
      isAnnounced = false;
      this.#announced -= 1;
      this.#writeSoon();
    };
  }

  #writeSoon(): void {
    if (this.#isWriting || this.#waiting.length === 0) return;
    if (this.#announced === 0 || this.#waiting.length >= enoughWrites) this.#writeNow();
    else this.#patience ??= this.#clock.alarm(patienceMs, () => this.#writeNow());
  }

  #writeNow(): void {
    this.#patience?.cancel();
    this.#patience = undefined;
    if (this.#isWriting || this.#waiting.length === 0) return;
    this.#isWriting = true;
    // A microtask later, so that the writes of one turn share the commit.
    queueMicrotask(() => void this.#writePortion());
  }

  async #writePortion(): Promise<void> {
    const writes = this.#waiting.splice(0, writesPerCommit);
    try {
      await this.#commit(writes);
      for (const { resolve } of writes) resolve();
    } catch (error) {
      // The database does not say which of several writes it refuses, so each is committed alone.
      const mayBeOne = !(error instanceof StoreUnavailable) && writes.length > 1;
      for (const write of writes) {
        if (mayBeOne) await this.#commit([write]).then(write.resolve, write.reject);
        else write.reject(error);
      }
    }
    this.#isWriting = false;
    this.#writeSoon();
  }

  async #commit(writes: readonly Waiting[]): Promise<void> {
    const rows = table<AuditRow>(this.#store, auditTable);
    const changes = rowsOf(writes).map(({ vault, at, entries }) =>
      rows.put(this.newRowKey(vault, at), rowOf(entries), undefined),
    );
    // Several writes may bring the same row; a statement can store it only once.
    const also = new Map(
      writes.flatMap(({ also }) => also.map((change) => [`${change.table} ${change.key}`, change] as const)),
    );
    await this.#store.commit({ rows: [...changes, ...also.values()] }, cause);
  }

  /** Key of a new row, behind those that this process wrote before. */
  newRowKey(vault: string, at: Instant): string {
    this.#sequence = (this.#sequence + 1) % sequenceMax;
    const suffix = Buffer.from(this.#random.bytes(4)).toString('hex');
    return `${vault}/${timeInKey(at)}-${String(this.#sequence).padStart(6, '0')}-${suffix}`;
  }
}

/** Similar entries of one row. `at` is the time of the latest, so a query from a time on needs to look no further back. */
interface NewRow {
  readonly vault: string;
  at: Instant;
  readonly entries: AuditEntry[];
}

const rowsOf = (writes: readonly Waiting[]): readonly NewRow[] => {
  const all: NewRow[] = [];
  const growing = new Map<string, NewRow>();
  for (const { at, entries } of writes) {
    for (const { vault, madeAt = 0, entry } of entries) {
      const name = `${vault} ${rowKeyOf(entry)}`;
      let row = growing.get(name);
      if (row === undefined || row.entries.length === entriesPerRow || row.at < madeAt) {
        row = { vault, at: 0, entries: [] };
        all.push(row);
        growing.set(name, row);
      }
      row.at = Math.max(row.at, at, madeAt);
      row.entries.push(entry);
    }
  }
  return all;
};

/** Audit rows share a cause: each entry names its own request. */
const cause = { correlationId: 'audit', causes: [], caller: 'system:key-vault' };
