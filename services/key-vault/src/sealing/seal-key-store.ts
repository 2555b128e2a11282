import { createHash } from 'node:crypto';

/** `purged` is permanent. `absent` was never stored, or this is not the right store. */
export type FoundSealKey =
  | { readonly status: 'present'; readonly record: Uint8Array }
  | { readonly status: 'purged' }
  | { readonly status: 'absent' };

/**
 * Stores the sealed seal key of each key version outside Postgres and its backups: a backup of both would undo a purge. A
 * change is durable when the call resolves. Several processes may share one store; a purge wins every race.
 */
export interface SealKeyStore {
  /** Stores a record unless the id has one or was purged. */
  create(id: string, record: Uint8Array): Promise<'created' | 'exists' | 'purged'>;
  read(id: string): Promise<FoundSealKey>;
  /** Replaces an existing record atomically. Does nothing to an id without a record. */
  replace(id: string, record: Uint8Array): Promise<void>;
  /** Purges: overwrites and removes the record and marks it as purged. May be repeated. */
  destroy(id: string): Promise<void>;
  /** Ids of all records. */
  ids(): Promise<readonly string[]>;
}

/** The id of a version's seal key: SHA-256 of the version's full name in hex, so that files do not name keys. */
export const sealKeyId = (version: string): string => createHash('sha256').update(version).digest('hex');

/** A store in memory, for tests and the simulation. */
export function createMemorySealKeyStore(): SealKeyStore {
  const records = new Map<string, Uint8Array>();
  const purged = new Set<string>();
  return {
    async create(id, record) {
      if (purged.has(id)) return 'purged';
      if (records.has(id)) return 'exists';
      records.set(id, Uint8Array.from(record));
      return 'created';
    },
    async read(id) {
      if (purged.has(id)) return { status: 'purged' };
      const record = records.get(id);
      return record ? { status: 'present', record: Uint8Array.from(record) } : { status: 'absent' };
    },
    async replace(id, record) {
      if (records.has(id)) records.set(id, Uint8Array.from(record));
    },
    async destroy(id) {
      purged.add(id);
      records.get(id)?.fill(0);
      records.delete(id);
    },
    ids: async () => [...records.keys()],
  };
}
