import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { fairQueue, tenantQueue } from './queue.ts';

/** A queue in which `line` + number are the jobs, pushed in this order. */
const queueOf = (...jobs: readonly string[]) => {
  const queue = fairQueue<string>();
  for (const job of jobs) queue.push(job.slice(0, 1), job);
  return queue;
};

test('lines take turns, and each keeps its order', () => {
  const queue = queueOf('a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1');
  assert.deepEqual(queue.take(4), ['a1', 'b1', 'c1', 'a2']);
  queue.push('c', 'c2');
  assert.equal(queue.length, 4);
  assert.deepEqual(queue.take(2), ['b2', 'a3']);
  assert.deepEqual(queue.take(9), ['c2', 'a4']);
  assert.deepEqual([queue.length, queue.take(1)], [0, []]);
});

test('one who comes behind a thousand jobs of another is served next', () => {
  const queue = queueOf(...Array.from({ length: 1_000 }, (_, n) => `a${n}`));
  queue.take(32);
  queue.push('b', 'b1');
  assert.ok(queue.take(2).includes('b1'));
});

test('a line that is removed is gone, and the others stay', () => {
  const queue = queueOf('a1', 'a2', 'b1', 'a3');
  queue.take(1);
  assert.deepEqual(queue.remove('a'), ['a2', 'a3']);
  assert.deepEqual(queue.remove('a'), []);
  assert.deepEqual([queue.length, queue.take(5)], [1, ['b1']]);
});

test('G8: what was taken is held no longer, also where its line never ends', async () => {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('there is no way to collect garbage');
  const queue = fairQueue<object>();
  queue.push('a', {});
  const pushAndTake = () => {
    queue.push('a', {});
    return queue.take(1).map((job) => new WeakRef(job));
  };
  const taken = Array.from({ length: 10 }, pushAndTake).flat();
  const isLeft = (): boolean => taken.some((job) => job.deref() !== undefined);
  for (let round = 0; round < 20 && isLeft(); round += 1) {
    await nextTurn();
    collect();
  }
  assert.deepEqual([queue.length, isLeft()], [1, false]);
});

test('a tenant with many keys has as many turns as a tenant with one, and its keys take turns within them', () => {
  const queue = tenantQueue<string>();
  for (const job of ['a1', 'a2', 'a3']) queue.push('tenants/a', `key ${job}`, job);
  queue.push('tenants/b', 'key b', 'b1');
  queue.push('tenants/b', 'key b', 'b2');
  queue.push('tenants/a', 'key a1', 'a1 again');
  assert.deepEqual([queue.length, queue.lengthOf('tenants/a'), queue.lengthOf('tenants/c')], [6, 4, 0]);
  assert.deepEqual(queue.remove('key a2'), ['a2']);
  const taken = Array.from({ length: 6 }, () => queue.takeOne());
  assert.deepEqual(taken, ['a1', 'b1', 'a3', 'b2', 'a1 again', undefined]);
  assert.deepEqual([queue.length, queue.lengthOf('tenants/a')], [0, 0]);
});
