import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { memoryStore } from './memory-store.ts';
import { pagesOf, table } from './table.ts';

const cause = { correlationId: 'c', causes: [], caller: 'test' };

/** A table of `count` rows; those with an even number are in an index. */
const openTable = async (count: number) => {
  const store = memoryStore({ clock: systemClock });
  const rows = table<{ readonly number: number }>(store, {
    name: 'thing',
    version: 1,
    indexes: ({ number }) => (number % 2 === 0 ? [{ index: 'kind', value: 'even' }] : []),
  });
  const put = (number: number) => store.commit({ rows: [rows.put(`a/${number}`, { number }, undefined)] }, cause);
  for (let number = count; number > 0; number -= 1) await put(number);
  const remove = (number: number) => store.commit({ rows: [rows.remove(`a/${number}`, { number })] }, cause);
  return { rows, put, remove };
};

test('pagesOf returns each row of a query once, in order, in pages', async () => {
  const { rows } = await openTable(7);
  const numbersOf = async (query: Parameters<typeof pagesOf>[1]) =>
    (await Array.fromAsync(pagesOf(rows, query))).map((page) => page.map(({ row }) => row.number));
  assert.deepEqual(await numbersOf({ limit: 3 }), [[1, 2, 3], [4, 5, 6], [7]]);
  assert.deepEqual(await numbersOf({ limit: 7 }), [[1, 2, 3, 4, 5, 6, 7]]);
  assert.deepEqual(await numbersOf({ limit: 2, after: 'a/3' }), [
    [4, 5],
    [6, 7],
  ]);
  assert.deepEqual(await numbersOf({ limit: 2, index: { index: 'kind', value: 'even' } }), [[2, 4], [6]]);
  assert.deepEqual(await numbersOf({ limit: 2, prefix: 'b/' }), [[]]);
});

test('pagesOf shows rows that are added or removed after the current page', async () => {
  const { rows, put, remove } = await openTable(4);
  const seen: number[] = [];
  for await (const page of pagesOf(rows, { limit: 2 })) {
    seen.push(...page.map(({ row }) => row.number));
    if (seen.length > 2) continue;
    await put(5);
    await remove(3);
  }
  assert.deepEqual(seen, [1, 2, 4, 5]);
});
