import type { Commit } from './store.ts';

/**
 * Of two changes of one row in a transaction a database makes one, and which is not said; two appends to one stream cannot both be at the
 * version it has. So a commit names a stream, a row or a cursor once.
 * @throws TypeError saying what comes twice
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
