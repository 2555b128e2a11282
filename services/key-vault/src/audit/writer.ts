import { type EventStore, type RowChange, StoreUnavailable, table } from '@interlock/event-store';
import type { Clock, Instant, Random } from '@interlock/runtime';
import { type AuditEntry, type AuditRow, areAlike, auditTable, likeness, rowOf, timeInKey } from './entry.ts';

/** An entry, and the vault on whose record it belongs. */
export interface VaultEntry {
  readonly vault: string;
  /** When that vault was made, where it is known: its record begins there, by whatever clock that was. */
  readonly madeAt?: Instant;
  readonly entry: AuditEntry;
}

/** What one request leaves on record. */
export interface AuditRecord {
  readonly entries: readonly VaultEntry[];
  readonly also: readonly RowChange[];
}

/** Stores entries. */
export interface AuditWriter {
  /**
   * Stores these entries, and `also` with them, all or nothing. All that is written while a commit is under way shares the
   * next one, and what is alike in it a row: a row with its index entries costs many times as much as an entry within it.
   */
  write(entries: readonly VaultEntry[], also?: readonly RowChange[]): Promise<void>;
  /**
   * The same of requests that are answered together, each all or nothing by itself.
   * @returns what became of each, once all are stored or cannot be: undefined, or why it is not stored
   */
  writeEach(records: readonly AuditRecord[]): Promise<readonly unknown[]>;
  /**
   * Says that a write is on its way: others wait for it, a little, to share its commit. Where none is on its way nothing waits.
   * @returns says that it is here, or will not come
   */
  expect(): () => void;
}

interface Waiting extends AuditRecord {
  /** When it was asked for: the vault of an earlier owner of the name has what was asked before it was gone. */
  readonly at: Instant;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

/** Rows of one process within a millisecond keep their order up to this many. */
const sequenceMax = 1_000_000;
/** Entries of one row: enough to make its cost small for each, few enough to be read for one of them. */
const entriesPerRow = 64;
/** What waits is stored in portions of so many writes: some 2 ms of the event loop. */
const writesPerCommit = 256;
/** So many do not wait for more: the commit costs little for each of them. */
const enoughWrites = 64;
/**
 * Longest a write waits for others that are on their way, in ms: about as long as a message to an RSA thread lasts. A commit
 * alone costs what thirty entries cost within one.
 */
const patienceMs = 4;

/** Opens the record for writing. */
export const auditWriter = (parts: {
  readonly store: EventStore;
  readonly clock: Pick<Clock, 'now' | 'alarm'>;
  readonly random: Pick<Random, 'bytes'>;
}): AuditWriter => {
  const { store, clock, random } = parts;
  const rows = table<AuditRow>(store, auditTable);
  const waiting: Waiting[] = [];
  let isWriting = false;
  let onTheirWay = 0;
  let patience: { cancel(): void } | undefined;
  let sequence = 0;

  const rowKey = (vault: string, at: Instant): string => {
    sequence = (sequence + 1) % sequenceMax;
    const suffix = Buffer.from(random.bytes(4)).toString('hex');
    return `${vault}/${timeInKey(at)}-${String(sequence).padStart(6, '0')}-${suffix}`;
  };

  const commit = async (writes: readonly Waiting[]): Promise<void> => {
    const changes = rowsOf(writes).map(({ vault, at, entries }) =>
      rows.put(rowKey(vault, at), rowOf(entries), undefined),
    );
    // Several may bring the same row; a statement stores a row once.
    const also = new Map(
      writes.flatMap(({ also }) => also.map((change) => [`${change.table} ${change.key}`, change] as const)),
    );
    await store.commit({ rows: [...changes, ...also.values()] }, cause);
  };

  const writePortion = async (): Promise<void> => {
    const writes = waiting.splice(0, writesPerCommit);
    try {
      await commit(writes);
      for (const { resolve } of writes) resolve();
    } catch (error) {
      // One of them holds what the database refuses, and nobody says which: each alone finds out.
      const isOfOne = !(error instanceof StoreUnavailable) && writes.length > 1;
      for (const write of writes) {
        if (isOfOne) await commit([write]).then(write.resolve, write.reject);
        else write.reject(error);
      }
    }
    isWriting = false;
    writeSoon();
  };

  const writeNow = (): void => {
    patience?.cancel();
    patience = undefined;
    if (isWriting || waiting.length === 0) return;
    isWriting = true;
    // A microtask later, so that what is written in one turn shares the commit.
    queueMicrotask(() => void writePortion());
  };

  const writeSoon = (): void => {
    if (isWriting || waiting.length === 0) return;
    if (onTheirWay === 0 || waiting.length >= enoughWrites) writeNow();
    else patience ??= clock.alarm(patienceMs, writeNow);
  };

  return {
    write: (entries, also = []) =>
      new Promise((resolve, reject) => {
        waiting.push({ at: clock.now(), entries, also, resolve, reject });
        writeSoon();
      }),
    writeEach: (records) =>
      new Promise((resolve) => {
        const failures: unknown[] = records.map(() => undefined);
        let left = 0;
        const ended = (): void => {
          left -= 1;
          if (left === 0) resolve(failures);
        };
        const at = clock.now();
        for (const [place, { entries, also }] of records.entries()) {
          if (entries.length === 0) continue;
          left += 1;
          const reject = (cause: unknown): void => {
            failures[place] = cause;
            ended();
          };
          waiting.push({ at, entries, also, resolve: ended, reject });
        }
        if (left === 0) resolve(failures);
        else writeSoon();
      }),
    expect() {
      onTheirWay += 1;
      let isHere = false;
      return () => {
        if (isHere) return;
        isHere = true;
        onTheirWay -= 1;
        writeSoon();
      };
    },
  };
};

/** What becomes a row: entries that are alike, and when the last of them was asked for. Who wants those from a time on looks no further back. */
interface Alike {
  readonly vault: string;
  at: Instant;
  readonly entries: AuditEntry[];
}

const rowsOf = (writes: readonly Waiting[]): readonly Alike[] => {
  const all: Alike[] = [];
  const growing = new Map<string, Alike>();
  let last: Alike | undefined;
  for (const { at, entries } of writes) {
    for (const { vault, madeAt = 0, entry } of entries) {
      // A batch brings one like the other, so most are like the one before.
      const isLikeLast = last?.vault === vault && last.entries[0] !== undefined && areAlike(last.entries[0], entry);
      const name = isLikeLast ? '' : `${vault} ${likeness(entry)}`;
      let row: Alike | undefined = isLikeLast ? last : growing.get(name);
      if (row === undefined || row.entries.length === entriesPerRow || row.at < madeAt) {
        row = { vault, at: 0, entries: [] };
        all.push(row);
        growing.set(name || `${vault} ${likeness(entry)}`, row);
      }
      row.at = Math.max(row.at, at, madeAt);
      row.entries.push(entry);
      last = row;
    }
  }
  return all;
};

/** Rows have no cause of their own: every entry names the request it is about. */
const cause = { correlationId: 'audit', causationId: 'audit', caller: 'system:key-vault' };
