import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from './turns.ts';

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
