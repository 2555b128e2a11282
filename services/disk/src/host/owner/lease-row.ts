import {
  type Cause,
  CursorConflict,
  type CursorMove,
  type EventStore,
  type RowChange,
  table,
} from '@interlock/event-store';

/**
 * What a host offers, as its lease says it: written with each renewal, so that no process needs another sign of it. Rows of
 * earlier releases have none of it.
 */
export interface HostOffer {
  /** Where the host is, for placement; `''` if not known. */
  readonly zone: string;
  /** `host:port` of its DiskDataService. */
  readonly dataAddress: string;
  /** Address at which its disks are network block devices; `''` for none. */
  readonly nbdAddress: string;
  /** `host:port` of its DiskService. */
  readonly grpcAddress: string;
  /** Size of the file system of its volumes, in bytes; absent if not known. */
  readonly capacityBytes?: number;
  /** Free bytes of that file system. */
  readonly freeBytes?: number;
}

/** The lease of a folder. A cursor counts the renewals, so that a write fails after another write. */
export interface HostLease extends Partial<HostOffer> {
  readonly epoch: number;
  /** UUID of the process; `''` once the folder was declared lost: no process holds it again. */
  readonly holder: string;
  readonly machine: string;
  readonly ttlMs: number;
  readonly isReleased: boolean;
  /** Whether it was released after every write was flushed. */
  readonly isFlushed?: boolean;
  /** `Ownership.intactSince`; absent in old rows. */
  readonly intactSince?: number;
  /** Name of the host; absent in old rows. */
  readonly host?: string;
  /** The value of the cursor after this write; absent in old rows. */
  readonly renewals?: number;
  /**
   * Position in the store: the holder serves no access that ended up to it without the holder (`HostLeases.requireClosed`). Absent in
   * old rows.
   */
  readonly appliedPosition?: number;
}

/** A lease as it was read, with the number of its renewals. */
export interface Seen {
  readonly renewals: number;
  readonly lease: HostLease | undefined;
}

/** The leases of folders: one row and one cursor each. */
export class HostLeases {
  readonly #store: EventStore;
  readonly #rows: ReturnType<typeof table<HostLease>>;

  constructor(store: EventStore) {
    this.#store = store;
    // The shape grew by fields that may be missing, so that a release that does not know them takes and keeps a folder too.
    this.#rows = table<HostLease>(store, { name: 'disk_host', version: 1 });
  }

  async read(folder: string): Promise<Seen> {
    const renewals = await this.#store.cursor(cursorOf(folder));
    return { renewals, lease: await this.#rows.get(folder) };
  }

  /** The leases of these folders. */
  readMany(folders: readonly string[]): Promise<ReadonlyMap<string, HostLease>> {
    return this.#rows.getMany(folders);
  }

  /**
   * Takes or renews a lease. It is stored only if its `appliedPosition` is the newest that was required.
   * @param renewals as they were read
   * @throws CursorConflict after another write, or (`isCloseConflict`) after `requireClosed`
   */
  async write(folder: string, renewals: number, lease: HostLease, cause: Cause): Promise<void> {
    const { row, cursor } = this.change(folder, renewals, lease);
    const at = lease.appliedPosition ?? 0;
    const applied = { name: closedCursorOf(folder), from: at, to: at };
    await this.#store.commit({ rows: [row], cursors: [cursor, applied] }, cause);
  }

  /** The newest position up to which the holder has to apply what ended without it; 0 if nothing did. */
  closedUpTo(folder: string): Promise<number> {
    return this.#store.cursor(closedCursorOf(folder));
  }

  /**
   * Requires that the folder is served only without the accesses that ended up to a position: no lease is taken or renewed before its
   * holder has applied them.
   */
  async requireClosed(folder: string, position: number, cause: Cause): Promise<void> {
    const name = closedCursorOf(folder);
    for (;;) {
      const from = await this.#store.cursor(name);
      if (from >= position) return;
      try {
        await this.#store.commit({ cursors: [{ name, from, to: position }] }, cause);
        return;
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
      }
    }
  }

  /** That write as a part of a commit. */
  change(folder: string, renewals: number, lease: HostLease): { readonly row: RowChange; readonly cursor: CursorMove } {
    return {
      row: this.#rows.put(folder, { ...lease, renewals: renewals + 1 }, undefined),
      cursor: { name: cursorOf(folder), from: renewals, to: renewals + 1 },
    };
  }
}

const cursorOf = (folder: string): string => `disk-host/${folder}`;

const closedCursorOf = (folder: string): string => `disk-host-closed/${folder}`;

/** Whether a write of the lease of a folder failed because more accesses ended without its holder. */
export const isCloseConflict = (error: CursorConflict, folder: string): boolean =>
  error.cursor === closedCursorOf(folder);
