import { type EventStore, type RowChange, table } from '@interlock/event-store';
import { type DiskHeader, headerFromJson, headerToJson } from '../host/header/disk-header-format.ts';

/**
 * The header of each volume as the store knows it, with its wrap: one row a volume, committed with the event that describes it. A
 * damaged or older header is restored from it. A row and not an event: a wrap under a key that the disk has left must not outlast
 * the move (one DEK, one key).
 */
export interface StoredHeaders {
  /** Undefined for a volume that no event names yet. Its `hostEpoch` is 0. */
  get(volumeId: string): Promise<DiskHeader | undefined>;
  /** For the commit of the event that describes this header. */
  put(volumeId: string, header: DiskHeader): RowChange;
  /** For the commit of the event that removes the volume. */
  remove(volumeId: string): RowChange;
}

/** Version 1: a header as `headerToJson` has it. */
const definition = { name: 'volume_header', version: 1 } as const;
const tableName = `${definition.name}_v${definition.version}`;

/** Opens the table. */
export const openStoredHeaders = (store: EventStore): StoredHeaders => {
  const rows = table<ReturnType<typeof headerToJson>>(store, definition);
  return {
    get: async (volumeId) => headerFromJson(await rows.get(volumeId)),
    put: (volumeId, header) => rows.put(volumeId, headerToJson({ ...header, hostEpoch: 0 }), undefined),
    // The row is in no index, so its former content is not needed.
    remove: (volumeId) => ({ table: tableName, key: volumeId, row: null, version: 0, removed: [], added: [] }),
  };
};
