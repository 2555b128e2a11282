import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createLanes, createTurns, inTurnsOf } from './turns.ts';

test('work under one key happens in order, under another key beside it, and a failure ends only its own turn', async () => {
  const turns = createTurns();
  const order: string[] = [];
  const held = Promise.withResolvers<void>();
  const first = turns('a', async () => {
    await held.promise;
    order.push('a1');
    throw new Error('no');
  });
  const second = turns('a', async () => order.push('a2'));
  await turns('b', async () => order.push('b1'));
  held.resolve();
  await assert.rejects(first, /no/);
  await second;
  assert.deepEqual(order, ['b1', 'a1', 'a2']);
});

test('work on several free things holds the turn of each until it ends', async () => {
  const turns = createTurns();
  const held = Promise.withResolvers<void>();
  const order: string[] = [];
  const together = inTurnsOf(turns, ['a', 'b'], async () => {
    await held.promise;
    order.push('a and b');
    throw new Error('no');
  });
  assert.deepEqual([turns.isFree('a'), turns.isFree('b'), turns.isFree('c')], [false, false, true]);
  const later = ['a', 'b'].map((key) => turns(key, async () => order.push(key)));
  held.resolve();
  await assert.rejects(together, /no/);
  await Promise.all(later);
  assert.deepEqual(order, ['a and b', 'a', 'b']);
});

test('no more work goes on at one time than there are lanes, in the order of asking; a failure makes room as well', async () => {
  const lanes = createLanes(2);
  const begun: number[] = [];
  const works = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
  const asked = works.map(({ promise }, n) =>
    lanes(() => {
      begun.push(n);
      return promise;
    }),
  );
  const settled = Promise.allSettled(asked);
  await nextTurn();
  assert.deepEqual(begun, [0, 1]);
  works[1]?.reject(new Error('failed'));
  await nextTurn();
  assert.deepEqual(begun, [0, 1, 2]);
  for (const [n, { resolve }] of works.entries()) resolve(n);
  assert.deepEqual(
    (await settled).map((one) => (one.status === 'fulfilled' ? one.value : 'failed')),
    [0, 'failed', 2, 3, 4],
  );
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
});
