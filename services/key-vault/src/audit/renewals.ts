import { type EventStore, type RowChange, type Table, table } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type AuditEntry, type AuditRow, auditTable } from './entry.ts';
import type { VaultEntry } from './writer.ts';

/** How long one entry records renewals, from its first one on, in milliseconds. */
export const renewalsMs = 3_600_000;
/** Leases whose entry may continue; of more, the one that began first begins a new entry. */
const leasesMax = 50_000;

/** The entry of a lease that continues. */
interface Continued {
  readonly rowKey: string;
  /** By (caller, key version) of the lease: a refusal ends all of these. */
  readonly user: string;
  row: AuditRow;
}

/**
 * Renewals of leases, which a disk host makes two or three times a minute for each key in use. Those of one lease that the vault grants
 * are one entry an hour: caller, key version, access epoch, network address of the host, with their number, the first and the last one.
 * The row is stored again with each, before its response leaves (KV-114), so a crash loses none. A refusal has an entry of its own and
 * ends the entry before it; after a loss the access epoch is another, so a replica that saw no refusal begins a new entry too.
 */
export class Renewals {
  readonly #rows: Table<AuditRow>;
  readonly #newRowKey: (vault: string, at: Instant) => string;
  readonly #entries = new Map<string, Continued>();
  /** Names in `#entries` by user. */
  readonly #byUser = new Map<string, Set<string>>();

  constructor(parts: { readonly store: EventStore; readonly newRowKey: (vault: string, at: Instant) => string }) {
    this.#rows = table<AuditRow>(parts.store, auditTable);
    this.#newRowKey = parts.newRowKey;
  }

  /** The row that records a renewal that the vault granted at an access epoch. */
  granted({ vault, madeAt = 0, entry }: VaultEntry, accessEpoch: number): RowChange {
    const name = nameOf(vault, entry, accessEpoch);
    const known = this.#entries.get(name);
    const isOver = known === undefined || entry.time - known.row.time >= renewalsMs || entry.time < known.row.time;
    if (isOver) {
      const rowKey = this.#newRowKey(vault, Math.max(entry.time, madeAt));
      this.#remember(name, { rowKey, user: userOf(vault, entry), row: entry });
      return this.#rows.put(rowKey, entry, undefined);
    }
    const before = known.row;
    const { time: lastTime, traceId: lastTraceId } = entry;
    known.row = { ...before, occurrences: (before.occurrences ?? 1) + 1, lastTime, lastTraceId };
    // As a new row: the first renewal may be in the same commit, which stores a row only once, or in one that fails.
    return this.#rows.put(known.rowKey, known.row, undefined);
  }

  /** The vault refused a use of a key version, or an entry is not stored: the next grant begins a new entry. */
  end({ vault, entry }: VaultEntry): void {
    const user = userOf(vault, entry);
    for (const name of this.#byUser.get(user) ?? []) this.#entries.delete(name);
    this.#byUser.delete(user);
  }

  #remember(name: string, entry: Continued): void {
    this.#forget(name);
    const [first] = this.#entries.keys();
    if (this.#entries.size >= leasesMax && first !== undefined) this.#forget(first);
    this.#entries.set(name, entry);
    const names = this.#byUser.get(entry.user) ?? new Set();
    this.#byUser.set(entry.user, names.add(name));
  }

  #forget(name: string): void {
    const known = this.#entries.get(name);
    if (known === undefined) return;
    this.#entries.delete(name);
    const names = this.#byUser.get(known.user);
    names?.delete(name);
    if (names?.size === 0) this.#byUser.delete(known.user);
  }
}

const userOf = (vault: string, { caller, key }: AuditEntry): string => `${vault}\n${caller}\n${key}`;

/** The port of a host changes with each connection, and the disk whose DEK proves the grant with each renewal. */
const nameOf = (vault: string, entry: AuditEntry, accessEpoch: number): string =>
  [userOf(vault, entry), accessEpoch, entry.vaultMadeAt, entry.callerAddress.replace(/:\d+$/, '')].join('\n');
