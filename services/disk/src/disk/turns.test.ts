import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns, inTurnsOf } from './turns.ts';

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
