import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyedMutex, withKeys } from './mutex.ts';

test('work under one key runs in order and under different keys concurrently; a failure affects no other work', async () => {
  const mutex = keyedMutex();
  const order: string[] = [];
  const held = Promise.withResolvers<void>();
  const first = mutex('a', async () => {
    await held.promise;
    order.push('a1');
    throw new Error('no');
  });
  const second = mutex('a', async () => order.push('a2'));
  await mutex('b', async () => order.push('b1'));
  held.resolve();
  await assert.rejects(first, /no/);
  await second;
  assert.deepEqual(order, ['b1', 'a1', 'a2']);
});

test('work under several free keys holds each of them until it ends', async () => {
  const mutex = keyedMutex();
  const held = Promise.withResolvers<void>();
  const order: string[] = [];
  const together = withKeys(mutex, ['a', 'b'], async () => {
    await held.promise;
    order.push('a and b');
    throw new Error('no');
  });
  assert.deepEqual([mutex.isFree('a'), mutex.isFree('b'), mutex.isFree('c')], [false, false, true]);
  const later = ['a', 'b'].map((key) => mutex(key, async () => order.push(key)));
  held.resolve();
  await assert.rejects(together, /no/);
  await Promise.all(later);
  assert.deepEqual(order, ['a and b', 'a', 'b']);
});
