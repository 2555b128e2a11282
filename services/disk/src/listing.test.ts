import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Loaded, Page } from '@interlock/event-store';
import { listKept } from './listing.ts';

/** Rows `000`, `001` … with their numbers as states, and the limit of each query. */
const things = (count: number) => {
  const all = Array.from({ length: count }, (_, n) => ({ id: String(n).padStart(3, '0'), state: n, version: 1 }));
  const looks: number[] = [];
  const list = async ({ after = '', limit }: { readonly after?: string; readonly limit: number }) => {
    looks.push(limit);
    const rest = all.filter(({ id }) => id > after);
    const items = rest.slice(0, limit);
    const next = items.at(-1)?.id;
    return rest.length > limit && next !== undefined ? { items, next } : { items };
  };
  return { looks, category: { list: list as (query: { readonly limit: number }) => Promise<Page<number>> } };
};

/** Every page of at most `limit` rows, as numbers. */
const pagesOf = async (
  category: ReturnType<typeof things>['category'],
  limit: number,
  keep: (thing: Loaded<number>) => boolean,
): Promise<readonly (readonly number[])[]> => {
  const pages: (readonly number[])[] = [];
  let after: string | undefined;
  do {
    const { items, next } = await listKept(category, after === undefined ? { limit } : { limit, after }, keep);
    pages.push(items.map(({ state }) => state));
    after = next;
  } while (after !== undefined);
  return pages;
};

test('if all rows are kept, each page takes one query, and no empty page follows', async () => {
  for (const count of [0, 1, 99, 100, 101, 200, 250]) {
    const { looks, category } = things(count);
    const pages = await pagesOf(category, 100, () => true);
    assert.deepEqual(
      pages.flat(),
      Array.from({ length: count }, (_, n) => n),
    );
    assert.deepEqual(
      [pages.length, looks.length],
      Array(2).fill(Math.max(1, Math.ceil(count / 100))),
      `${count} things`,
    );
  }
});

test('if few rows are kept, queries continue until a page is full', async () => {
  const { category } = things(500);
  const isKept = ({ state }: Loaded<number>): boolean => state % 7 === 0;
  const pages = await pagesOf(category, 30, isKept);
  assert.deepEqual(
    pages.flat(),
    Array.from({ length: 72 }, (_, n) => 7 * n),
  );
  assert.deepEqual(
    pages.map(({ length }) => length),
    [30, 30, 12],
  );
});
