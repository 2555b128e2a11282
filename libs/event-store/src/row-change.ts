import type { IndexEntry, JsonObject, RowChange } from './store.ts';

const none: readonly IndexEntry[] = [];

/** Describes a row's change, moving only the index entries that differ. */
export const rowChange = (
  table: string,
  key: string,
  change: { row: JsonObject | null; version: number; before: readonly IndexEntry[]; after: readonly IndexEntry[] },
): RowChange => {
  const { row, version, before, after } = change;
  // What happens to a whole fleet at once moves none.
  if (isAlike(before, after)) return { table, key, row, version, removed: none, added: none };
  return { table, key, row, version, removed: without(before, after), added: without(after, before) };
};

const isSame = (a: IndexEntry | undefined, b: IndexEntry | undefined): boolean =>
  a?.index === b?.index && a?.value === b?.value;

const isAlike = (these: readonly IndexEntry[], those: readonly IndexEntry[]): boolean =>
  these.length === those.length && these.every((entry, n) => isSame(entry, those[n]));

const without = (these: readonly IndexEntry[], those: readonly IndexEntry[]): readonly IndexEntry[] =>
  these.filter((a) => !those.some((b) => isSame(a, b)));
