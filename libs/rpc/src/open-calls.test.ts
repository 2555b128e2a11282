import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { OpenCalls } from './open-calls.ts';

test('each open call is looked at every period, and none after the stop', async () => {
  const clock = virtualClock();
  const seen: string[] = [];
  const calls = new OpenCalls<string>(clock, 100, (call) => seen.push(call));
  calls.add('a');
  await clock.pass(100);
  calls.add('b');
  assert.equal(calls.delete('a'), true);
  assert.equal(calls.delete('a'), false);
  await clock.pass(100);
  assert.deepEqual(seen, ['a', 'b']);
  calls.stop();
  await clock.pass(1_000);
  assert.deepEqual(seen, ['a', 'b']);
});

test('a server is idle 200 ms after its last call; a call in between starts the time again', async () => {
  const clock = virtualClock();
  const calls = new OpenCalls<string>(clock, 10_000, () => undefined);
  let isIdle = false;
  calls.add('a');
  const idle = calls.idle().then(() => {
    isIdle = true;
  });
  calls.delete('a');
  await clock.pass(199);
  calls.add('b');
  await clock.pass(1_000);
  assert.equal(isIdle, false);
  calls.delete('b');
  await clock.pass(199);
  assert.equal(isIdle, false);
  await clock.pass(1);
  await idle;
  calls.stop();
});
