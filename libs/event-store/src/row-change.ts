import type { IndexEntry, JsonObject, RowChange } from './store.ts';

const none: readonly IndexEntry[] = [];

/** Describes the change of a row, with the index entries that differ. */
export const rowChange = (
  table: string,
  key: string,
  change: { row: JsonObject | null; version: number; before: readonly IndexEntry[]; after: readonly IndexEntry[] },
): RowChange => {
  const { row, version, before, after } = change;
  // The usual case for a change of a whole fleet.
  if (areEqual(before, after)) return { table, key, row, version, removed: none, added: none };
  return { table, key, row, version, removed: without(before, after), added: without(after, before) };
};

const isSame = (a: IndexEntry | undefined, b: IndexEntry | undefined): boolean =>
  a?.index === b?.index && a?.value === b?.value;

const areEqual = (these: readonly IndexEntry[], those: readonly IndexEntry[]): boolean =>
  these.length === those.length && these.every((entry, n) => isSame(entry, those[n]));

const without = (these: readonly IndexEntry[], those: readonly IndexEntry[]): readonly IndexEntry[] =>
  these.filter((a) => !those.some((b) => isSame(a, b)));
