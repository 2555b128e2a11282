import type { IndexEntry, JsonObject, RowChange } from './store.ts';

/** Describes a row's change, moving only the index entries that differ. */
export const rowChange = (
  table: string,
  key: string,
  change: { row: JsonObject | null; version: number; before: readonly IndexEntry[]; after: readonly IndexEntry[] },
): RowChange => {
  const without = (these: readonly IndexEntry[], those: readonly IndexEntry[]) =>
    these.filter((a) => !those.some((b) => a.index === b.index && a.value === b.value));
  return {
    table,
    key,
    row: change.row,
    version: change.version,
    removed: without(change.before, change.after),
    added: without(change.after, change.before),
  };
};
