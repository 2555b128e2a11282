import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import type { Crash } from './restartable.ts';
import { openRestarts, restartAfterOf } from './restarts.ts';

/** A service whose first restarts fail this many times. @returns its restarts, in milliseconds since the start */
const brought = (afterMs: number | undefined, failures = 0) => {
  const clock = virtualClock();
  const startMs = clock.monotonicMs();
  const ending = new AbortController();
  const restarted: number[] = [];
  const said: string[] = [];
  let left = failures;
  const restart = async () => {
    restarted.push(clock.monotonicMs() - startMs);
    left -= 1;
    if (left >= 0) throw new Error('it ends again');
    return 1;
  };
  const crash: Crash = { name: 'compute-1', status: 137, message: 'why', restart };
  const told = openRestarts({
    afterMs,
    clock,
    say: (line) => said.push(line),
    signal: ending.signal,
  });
  return { clock, restarted, said, onCrash: () => told(crash), end: () => ending.abort() };
};

test('restarts a killed service after the delay and reports it', async () => {
  const { clock, restarted, said, onCrash } = brought(1_000);
  onCrash();
  await clock.pass(5_000);
  assert.deepEqual(restarted, [1_000]);
  assert.deepEqual(said, ['\nwhy', 'compute-1 is started again in 1000 ms; the others continue.']);
});

test('doubles the delay, up to 30 s, if a service ends soon or its restart fails, and resets it after a long run', async () => {
  const failing = brought(1_000, 7);
  failing.onCrash();
  await failing.clock.pass(300_000);
  assert.deepEqual(failing.restarted, [1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000, 121_000]);
  assert.ok(failing.said.includes('it ends again'));
  const soon = brought(1_000);
  soon.onCrash();
  await soon.clock.pass(2_000);
  soon.onCrash();
  await soon.clock.pass(100_000);
  soon.onCrash();
  await soon.clock.pass(2_000);
  assert.deepEqual(soon.restarted, [1_000, 4_000, 103_000]);
});

test('waits for a long delay, never restarts with `never`, and restarts nothing once everything ends', async () => {
  const long = brought(120_000);
  long.onCrash();
  await long.clock.pass(130_000);
  assert.deepEqual(long.restarted, [120_000]);
  const never = brought(undefined);
  never.onCrash();
  assert.deepEqual(never.said, ['\nwhy', 'compute-1 stays away (--restart-after never); the others continue.']);
  assert.equal(never.clock.pending(), 0);
  const ended = brought(1_000);
  ended.onCrash();
  ended.end();
  await new Promise(setImmediate);
  assert.equal(ended.clock.pending(), 0);
  assert.deepEqual(ended.restarted, []);
});

test('--restart-after takes a duration with a unit, or never', () => {
  assert.deepEqual([undefined, 'never', '500ms', '30s', '2m', '1h'].map(restartAfterOf), [
    1_000,
    undefined,
    500,
    30_000,
    120_000,
    3_600_000,
  ]);
  for (const text of ['', 'soon', '-1s', '1.5s']) assert.throws(() => restartAfterOf(text), /--restart-after must be/);
  for (const text of ['0', '5'])
    assert.throws(() => restartAfterOf(text), {
      name: 'LauncherError',
      message: `--restart-after ${text} has no unit: ms, s, m or h, as in ${text}s.`,
    });
});
