import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { openComputing, sliceSteps, stepsMax, type Work } from './work.ts';

const limits = { refuse: (what: string) => new Error(what), stepsMax };

/** A clock whose sleeps end when the test says so. */
const steppedClock = () => {
  const sleeping: (() => void)[] = [];
  return {
    sleeping,
    sleep: (): Promise<void> => new Promise((resolve) => sleeping.push(resolve)),
    /** Ends one sleep, and lets everything run that follows it. */
    step: async (): Promise<void> => {
      sleeping.shift()?.();
      await setImmediate();
    },
  };
};

/** Spends so many slices, and yields where it may. */
const spend = async (work: Work, slices: number): Promise<void> => {
  for (let n = 0; n < slices; n += 1) {
    work.spend(sliceSteps);
    await work.yieldIfDue();
  }
};

test('a long computation gives a turn after each slice, and a short one never waits for it', async () => {
  const clock = steppedClock();
  const compute = openComputing(clock);
  const ended: string[] = [];
  const long = compute('a', limits, (work) => spend(work, 10)).then(() => ended.push('long'));
  await setImmediate();
  await compute('b', limits, async (work) => work.spend(sliceSteps - 1)).then(() => ended.push('short'));
  let turns = 0;
  for (; ended.length < 2; turns += 1) await clock.step();
  await long;
  assert.deepEqual(ended, ['short', 'long']);
  assert.equal(turns, 10);
});

test('long computations run one at a time; a caller with many waits for itself, and is refused more', async () => {
  const clock = steppedClock();
  const compute = openComputing(clock);
  const ended: string[] = [];
  const start = (caller: string): Promise<unknown> =>
    compute(caller, limits, (work) => spend(work, 2)).then(() => ended.push(caller));
  const all = [start('a'), start('a'), start('a'), start('a'), start('b')];
  await assert.rejects(start('a'), { status: 429, code: 'TooManyRequests' });
  await setImmediate();
  while (ended.length < all.length) {
    assert.equal(clock.sleeping.length, 1);
    await clock.step();
  }
  await Promise.all(all);
  assert.deepEqual(ended.slice(0, 2), ['a', 'b']);
  const again = start('a');
  await setImmediate();
  while (clock.sleeping.length > 0) await clock.step();
  await again;
});

test('a computation that fails lets the next one run', async () => {
  const clock = steppedClock();
  const compute = openComputing(clock);
  const failed = compute('a', limits, (work) => spend(work, stepsMax / sliceSteps + 1)).catch(String);
  const next = compute('b', limits, (work) => spend(work, 2)).then(() => 'done');
  let left = 2;
  for (const one of [failed, next]) void one.then(() => (left -= 1));
  while (left > 0) await clock.step();
  assert.match(String(await failed), /more than 10000000 steps/);
  assert.equal(await next, 'done');
});
