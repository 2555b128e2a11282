import { type EventStore, type RowChange, table } from '@interlock/event-store';
import { type DiskHeader, headerFromJson, headerToJson } from './disk-header-format.ts';

/**
 * The header of each volume as the store knows it, wraps included: one row a volume, committed with the event that describes it, and
 * replaced with the next. It is what a header is written again from where the storage returns another. Rows and not events: a wrap
 * under a key that the disk has left must not outlast the move (one DEK, one key).
 */
export interface StoredHeaders {
  /** Undefined for a volume that no event names yet. Its `hostEpoch` is 0. */
  get(volumeId: string): Promise<DiskHeader | undefined>;
  /** For the commit of the event that describes this header. */
  put(volumeId: string, header: DiskHeader): RowChange;
  /** For the commit of the event that ends the volume. */
  remove(volumeId: string): RowChange;
}

/** Version 1: a header as `headerToJson` has it. */
const definition = { name: 'volume_header', version: 1 } as const;
const tableName = `${definition.name}_v${definition.version}`;

/** Opens them. */
export const openStoredHeaders = (store: EventStore): StoredHeaders => {
  const rows = table<ReturnType<typeof headerToJson>>(store, definition);
  return {
    get: async (volumeId) => headerFromJson(await rows.get(volumeId)),
    put: (volumeId, header) => rows.put(volumeId, headerToJson({ ...header, hostEpoch: 0 }), undefined),
    // Built by hand: nothing of what the row was is needed, for it is in no index.
    remove: (volumeId) => ({ table: tableName, key: volumeId, row: null, version: 0, removed: [], added: [] }),
  };
};
