import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { StepBarrier } from './step-barrier.ts';

/** How long a member waits for the others, in ms. */
const patienceMs = 50;

test('no member continues before all have reached the step, and members that have ended are not waited for', async () => {
  const clock = virtualClock();
  const barrier = new StepBarrier(clock);
  const order: string[] = [];
  const held = Promise.withResolvers<void>();
  const moved = ['a', 'b', 'late', 'failing'].map((name) =>
    barrier.member(async (step) => {
      if (name === 'late') await held.promise;
      if (name === 'failing') throw new Error('no');
      order.push(`${name} 1`);
      await step();
      order.push(`${name} 2`);
      await step();
      order.push(`${name} 3`);
    }),
  );
  const [failing] = moved.slice(3);
  assert.ok(failing);
  await assert.rejects(failing, /no/);
  await clock.pass(patienceMs - 1);
  assert.deepEqual(order, ['a 1', 'b 1']);
  held.resolve();
  await Promise.all(moved.slice(0, 3));
  assert.deepEqual(order.slice(2), ['late 1', 'a 2', 'b 2', 'late 2', 'a 3', 'b 3', 'late 3']);
  assert.equal(clock.monotonicMs(), patienceMs - 1, 'no step waited for a timer');
});

test('a member that does not arrive delays the others only until their timeout', async () => {
  const clock = virtualClock();
  const barrier = new StepBarrier(clock);
  const never = Promise.withResolvers<void>();
  void barrier.member(() => never.promise);
  let isDone = false;
  const moved = barrier.member(async (step) => {
    await step();
    isDone = true;
  });
  await clock.pass(patienceMs - 1);
  assert.equal(isDone, false);
  await clock.pass(1);
  await moved;
  never.resolve();
});

test('the others continue as soon as the last member ends, without waiting for the timeout', async () => {
  const clock = virtualClock();
  const barrier = new StepBarrier(clock);
  const held = Promise.withResolvers<void>();
  let isOn = false;
  void barrier.member(async (step) => {
    await step();
    isOn = true;
  });
  const ending = barrier.member(() => held.promise);
  await clock.pass(1);
  assert.equal(isOn, false);
  held.resolve();
  await ending;
  await clock.pass(0);
  assert.equal(isOn, true);
});

test('a single member does not wait', async () => {
  const clock = virtualClock();
  await new StepBarrier(clock).member(async (step) => {
    await step();
    await step();
  });
  assert.equal(clock.monotonicMs(), 0);
});
