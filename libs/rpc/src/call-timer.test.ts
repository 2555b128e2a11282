import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { startTimer } from './call-timer.ts';

const late = (): Error => new Error('late');

test('a timer adds no listener until its signal is read, and still notices a cancellation', () => {
  const caller = new AbortController();
  const timer = startTimer(virtualClock(), 1_000, caller.signal);
  assert.equal(getEventListeners(caller.signal, 'abort').length, 0);
  assert.equal(timer.ended(), undefined);
  caller.abort();
  assert.equal(timer.ended(), 'cancelled');
  assert.equal(timer.signal.aborted, true);
  timer.stop();
});

test('a signal that was read is aborted if the caller cancels, if the server stops, and at the deadline', async () => {
  const clock = virtualClock();
  for (const why of ['cancelled', 'stopping', 'deadline'] as const) {
    const [caller, stopping] = [new AbortController(), new AbortController()];
    const timer = startTimer(clock, 1_000, caller.signal, stopping.signal);
    const { signal } = timer;
    assert.equal(signal.aborted, false);
    if (why === 'cancelled') caller.abort();
    else if (why === 'stopping') stopping.abort();
    else await clock.pass(1_001);
    assert.deepEqual([signal.aborted, timer.ended()], [true, why]);
    timer.stop();
    assert.equal(getEventListeners(caller.signal, 'abort').length, 0);
  }
});

test('a deadline after a cancellation does not change why the call ended', async () => {
  const clock = virtualClock();
  const caller = new AbortController();
  const timer = startTimer(clock, 1_000, caller.signal);
  const work = Promise.withResolvers<string>();
  const answer = timer.race(work.promise, late);
  caller.abort();
  await clock.pass(2_000);
  assert.equal(timer.ended(), 'cancelled');
  work.resolve('done');
  assert.equal(await answer, 'done');
  timer.stop();
});

test('neither a cancellation nor the deadline ends a stopped timer', async () => {
  const clock = virtualClock();
  const caller = new AbortController();
  const timer = startTimer(clock, 1_000, caller.signal);
  timer.stop();
  caller.abort();
  await clock.pass(2_000);
  assert.equal(timer.ended(), undefined);
});

test('a signal first read after the end shows how the call ended, and adds no listener to the server', async () => {
  const clock = virtualClock();
  const stopping = new AbortController();
  const timer = startTimer(clock, 1_000, undefined, stopping.signal);
  await clock.pass(1_001);
  timer.stop();
  assert.equal(timer.signal.aborted, true);
  const answered = startTimer(clock, 1_000, undefined, stopping.signal);
  answered.stop();
  assert.equal(answered.signal.aborted, false);
  assert.equal(getEventListeners(stopping.signal, 'abort').length, 0);
});
