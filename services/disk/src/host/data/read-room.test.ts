import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '@interlock/runtime';
import { ReadRoom } from './read-room.ts';

/** A clock that the test moves. */
const testClock = () => {
  let nowMs = 0;
  const alarms = new Map<object, { readonly atMs: number; readonly wake: () => void }>();
  const clock: Pick<Clock, 'alarm' | 'monotonicMs'> = {
    monotonicMs: () => nowMs,
    alarm: (durationMs, wake) => {
      const key = { cancel: () => alarms.delete(key) };
      alarms.set(key, { atMs: nowMs + durationMs, wake });
      return key as ReturnType<Clock['alarm']>;
    },
  };
  return {
    clock,
    alarms: () => alarms.size,
    async pass(ms: number): Promise<void> {
      nowMs += ms;
      for (const [key, { atMs, wake }] of [...alarms]) {
        if (atMs <= nowMs && alarms.delete(key)) wake();
      }
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
};
const neverEnding = new AbortController().signal;
const never = () => neverEnding;
const undropped = (): void => assert.fail('nothing is to be dropped');

test('reads wait for memory in the order of arrival, and get it when another read returns it', async () => {
  const { clock, alarms } = testClock();
  const room = new ReadRoom(clock, 10);
  const first = await room.take(6, undropped, never);
  const order: string[] = [];
  const second = room.take(6, undropped, never).then((taken) => {
    order.push('second');
    return taken;
  });
  // There is memory for it, but it arrived later.
  const third = room.take(2, undropped, never).then((taken) => {
    order.push('third');
    return taken;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, []);
  first.release();
  for (const taken of [await second, await third]) taken.release();
  assert.deepEqual(order, ['second', 'third']);
  (await room.take(10, undropped, never)).release();
  assert.equal(alarms(), 0);
});

test('a reader that does not take its data for 50 ms loses its memory to a waiting read; a busy reader keeps it', async () => {
  const { clock, pass } = testClock();
  const room = new ReadRoom(clock, 10);
  const dropped: string[] = [];
  const idle = await room.take(5, () => dropped.push('idle'), never);
  const busy = await room.take(5, () => dropped.push('busy'), never);
  idle.rest();
  const waiting = room.take(5, undropped, never);
  await pass(49);
  assert.deepEqual(dropped, []);
  await pass(1);
  const taken = await waiting;
  assert.deepEqual(dropped, ['idle']);
  assert.equal(idle.resume(), false);
  assert.equal(busy.resume(), true);
  for (const each of [idle, busy, taken]) each.release();
  (await room.take(10, undropped, never)).release();
});

test('a read that is cancelled while it waits takes no memory', async () => {
  const { clock, alarms } = testClock();
  const room = new ReadRoom(clock, 10);
  const first = await room.take(10, undropped, never);
  const ending = new AbortController();
  const waiting = room.take(10, undropped, () => ending.signal);
  ending.abort();
  await assert.rejects(waiting, /ended before there was memory/);
  first.release();
  (await room.take(10, undropped, never)).release();
  assert.equal(alarms(), 0);
});
