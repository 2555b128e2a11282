import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Rejection } from '@interlock/event-store';
import { TenantQueue } from './queue.ts';

const newQueue = <Job>(limits: { tenantMax?: number; totalMax?: number } = {}) =>
  new TenantQueue<Job>({ what: 'jobs', tenantMax: 10_000, totalMax: 10_000, ...limits });

/** A queue of one tenant. Each job is its key and a number; they are pushed in this order. */
const queueOf = (...jobs: readonly string[]) => {
  const queue = newQueue<string>();
  for (const job of jobs) queue.push('tenants/t', job.slice(0, 1), job);
  return queue;
};

const take = <Job>(queue: TenantQueue<Job>, count: number): readonly Job[] =>
  Array.from({ length: count }, () => queue.shift()).filter((job) => job !== undefined);

test('keys take turns, and the jobs of each key keep their order', () => {
  const queue = queueOf('a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1');
  assert.deepEqual(take(queue, 4), ['a1', 'b1', 'c1', 'a2']);
  queue.push('tenants/t', 'c', 'c2');
  assert.equal(queue.length, 4);
  assert.deepEqual(take(queue, 2), ['b2', 'a3']);
  assert.deepEqual(take(queue, 9), ['c2', 'a4']);
  assert.deepEqual([queue.length, queue.shift()], [0, undefined]);
});

test('a job behind a thousand jobs of another key is served next', () => {
  const queue = queueOf(...Array.from({ length: 1_000 }, (_, n) => `a${n}`));
  take(queue, 32);
  queue.push('tenants/t', 'b', 'b1');
  assert.ok(take(queue, 2).includes('b1'));
});

test('the jobs of a key can be removed, and the others stay', () => {
  const queue = queueOf('a1', 'a2', 'b1', 'a3');
  queue.shift();
  assert.deepEqual(queue.remove('a'), ['a2', 'a3']);
  assert.deepEqual(queue.remove('a'), []);
  assert.deepEqual([queue.length, take(queue, 5)], [1, ['b1']]);
});

test('G8: the queue keeps no reference to a job that was taken, even if the queue of its key never empties', async () => {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('the garbage collector cannot be called');
  const queue = newQueue<object>();
  queue.push('tenants/t', 'a', {});
  const pushAndTake = () => {
    queue.push('tenants/t', 'a', {});
    return take(queue, 1).map((job) => new WeakRef(job));
  };
  const taken = Array.from({ length: 10 }, pushAndTake).flat();
  const isLeft = (): boolean => taken.some((job) => job.deref() !== undefined);
  for (let round = 0; round < 20 && isLeft(); round += 1) {
    await nextTurn();
    collect();
  }
  assert.deepEqual([queue.length, isLeft()], [1, false]);
});

test('a tenant with many keys gets as many turns as a tenant with one, and its keys take turns within them', () => {
  const queue = newQueue<string>();
  for (const job of ['a1', 'a2', 'a3']) queue.push('tenants/a', `key ${job}`, job);
  queue.push('tenants/b', 'key b', 'b1');
  queue.push('tenants/b', 'key b', 'b2');
  queue.push('tenants/a', 'key a1', 'a1 again');
  assert.equal(queue.length, 6);
  assert.deepEqual(queue.remove('key a2'), ['a2']);
  assert.deepEqual(take(queue, 9), ['a1', 'b1', 'a3', 'b2', 'a1 again']);
  assert.equal(queue.length, 0);
});

test('KV-95: a queue refuses jobs above the limit of a tenant and above the limit of all', () => {
  const queue = newQueue<string>({ tenantMax: 2, totalMax: 3 });
  const push = (tenant: string) => () => queue.push(tenant, 'key', 'job');
  for (const tenant of ['tenants/a', 'tenants/a', 'tenants/b']) push(tenant)();
  const refused = (limited: string, limit: string) => (error: unknown) => {
    assert.ok(error instanceof Rejection);
    assert.deepEqual([error.reason, error.metadata.limited, error.metadata.limit], ['THROTTLED', limited, limit]);
    return true;
  };
  assert.throws(push('tenants/a'), refused('tenants/a', '2'));
  assert.throws(push('tenants/b'), refused('this replica', '3'));
  queue.shift();
  push('tenants/b')();
});
