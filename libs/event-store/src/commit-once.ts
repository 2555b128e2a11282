import type { Commit } from './store.ts';

/**
 * Checks that a commit names each stream, row and cursor once: of two changes of one row a database stores one or the other, and
 * two appends to one stream cannot both have its version.
 * @throws TypeError with the name that occurs twice
 */
export const assertOnceEach = ({ appends = [], rows = [], cursors = [] }: Commit): void => {
  if (appends.length > 1) assertDistinct('stream', appends, ({ stream }) => stream);
  if (rows.length > 1) assertDistinct('row', rows, ({ table, key }) => `${table} ${key}`);
  if (cursors.length > 1) assertDistinct('cursor', cursors, ({ name }) => name);
};

const assertDistinct = <Part>(what: string, parts: readonly Part[], nameOf: (part: Part) => string): void => {
  const seen = new Set<string>();
  for (const part of parts) {
    const name = nameOf(part);
    if (seen.has(name)) throw new TypeError(`a commit changes the ${what} ${name} twice`);
    seen.add(name);
  }
};
