import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { bootTime, systemClock } from './clock.ts';

const machine = () => {
  const at = { monotonicMs: 1_000, wallMs: 50_000, uptimeMs: 7_000, looks: 0 };
  const bootMs = bootTime({
    monotonicMs: () => at.monotonicMs,
    wallMs: () => at.wallMs,
    uptimeMs: () => {
      at.looks += 1;
      // With the resolution of the operating system.
      return Math.floor(at.uptimeMs / 10) * 10;
    },
  });
  const run = (durationMs: number) => {
    at.monotonicMs += durationMs;
    at.wallMs += durationMs;
    at.uptimeMs += durationMs;
  };
  return { at, bootMs, run };
};

test('G1: boot time includes a suspension at once if the wall clock has advanced', () => {
  const { at, bootMs, run } = machine();
  const before = bootMs();
  run(3);
  at.wallMs += 60_000;
  at.uptimeMs += 60_000;
  assert.ok(bootMs() - before >= 60_000);
});

test('G1: boot time includes a suspension within 100 ms if the wall clock has not advanced', () => {
  const { at, bootMs, run } = machine();
  const before = bootMs();
  at.uptimeMs += 60_000;
  run(100);
  assert.ok(bootMs() - before >= 60_000);
});

test('boot time never goes back, is never slow, and ignores changes of the wall clock', () => {
  const { at, bootMs, run } = machine();
  const start = bootMs();
  let last = start;
  for (let step = 0; step < 400; step += 1) {
    run(7);
    if (step % 50 === 0) at.wallMs += step % 100 === 0 ? 3_600_000 : -3_600_000;
    const now = bootMs();
    assert.ok(now >= last);
    assert.ok(now - start >= (step + 1) * 7 - 1e-6);
    assert.ok(now - start <= (step + 1) * 7 + 10);
    last = now;
  }
});

test('the suspended time is read once for 99 readings within 100 ms', () => {
  const { at, bootMs, run } = machine();
  for (let reading = 0; reading < 99; reading += 1) {
    bootMs();
    run(1);
  }
  assert.equal(at.looks, 1);
});

test("the operating system's boot time advances with its monotonic clock", async () => {
  // Each boot time lies between two readings of the monotonic clock, because this process may pause between any two.
  const reading = () => ({
    earliest: systemClock.monotonicMs(),
    boot: systemClock.bootMs(),
    latest: systemClock.monotonicMs(),
  });
  const from = reading();
  await systemClock.sleep(20);
  const to = reading();
  const elapsedMs = to.boot - from.boot;
  // The operating system reports its boot time in hundredths of a second.
  assert.ok(elapsedMs >= to.earliest - from.latest - 11, `${elapsedMs} ms`);
  assert.ok(elapsedMs <= to.latest - from.earliest + 11, `${elapsedMs} ms`);
});

test('an alarm longer than the longest system timer, or infinite, does not end early', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const dayMs = 86_400_000;
  const woken: string[] = [];
  systemClock.alarm(60 * dayMs, () => woken.push('in sixty days'));
  const never = systemClock.alarm(Number.POSITIVE_INFINITY, () => woken.push('never'));
  for (let day = 1; day < 60; day += 1) t.mock.timers.tick(dayMs);
  assert.deepEqual(woken, []);
  // A mocked timer that follows another one starts at the end of the tick.
  for (let day = 60; day < 63; day += 1) t.mock.timers.tick(dayMs);
  assert.deepEqual(woken, ['in sixty days']);
  never.cancel();
});

test('a sleep ends with the first of its signals, also one that is already aborted, and leaves no listener', async () => {
  const [one, other] = [new AbortController(), new AbortController()];
  const long = systemClock.sleep(86_400_000, one.signal, undefined, other.signal);
  assert.equal(getEventListeners(one.signal, 'abort').length, 1);
  other.abort();
  await long;
  assert.deepEqual(getEventListeners(one.signal, 'abort'), []);
  await systemClock.sleep(86_400_000, one.signal, other.signal);
});
