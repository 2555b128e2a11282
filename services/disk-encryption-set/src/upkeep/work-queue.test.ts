import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testCause } from '../testing/test-sets.ts';
import { workQueue } from './work-queue.ts';

/** A queue whose runs end on command, and its log. */
const heldQueue = (limit: number) => {
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const reported: string[] = [];
  const stopping = new AbortController();
  const queue = workQueue({
    limit,
    signal: stopping.signal,
    report: (set) => reported.push(set),
    run: async (set) => {
      begun.push(set);
      await new Promise<void>((resolve) => ends.push(resolve));
      if (set === 'bad') throw new Error('a run that fails');
    },
  });
  const endNext = async (): Promise<void> => {
    ends.shift()?.();
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };
  const add = (set: string): void => queue.add(set, testCause);
  return { queue, add, begun, endNext, reported, stopping };
};

test('a set has one run at a time, and one more run if it was added meanwhile', async () => {
  const { add, begun, endNext, queue } = heldQueue(5);
  add('a');
  add('a');
  add('a');
  assert.deepEqual(begun, ['a']);
  await endNext();
  assert.deepEqual(begun, ['a', 'a']);
  await endNext();
  await queue.idle();
  assert.deepEqual(begun, ['a', 'a']);
});

test('at most `limit` sets run at once, and every set gets its run', async () => {
  const { add, begun, endNext, queue } = heldQueue(2);
  for (const set of ['a', 'b', 'c']) add(set);
  assert.deepEqual(begun, ['a', 'b']);
  await endNext();
  assert.deepEqual(begun, ['a', 'b', 'c']);
  await endNext();
  await endNext();
  await queue.idle();
});

test('a failed run is reported and delays no other; after a stop nothing starts', async () => {
  const { add, begun, endNext, queue, reported, stopping } = heldQueue(1);
  add('bad');
  add('b');
  await endNext();
  assert.deepEqual([reported, begun], [['bad'], ['bad', 'b']]);
  stopping.abort();
  add('c');
  await endNext();
  await queue.idle();
  assert.deepEqual(begun, ['bad', 'b']);
});
