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
      // The operating system's resolution.
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

test('G1: boot time counts the time a machine was suspended, at once where the wall clock tells of it', () => {
  const { at, bootMs, run } = machine();
  const before = bootMs();
  run(3);
  at.wallMs += 60_000;
  at.uptimeMs += 60_000;
  assert.ok(bootMs() - before >= 60_000);
});

test('G1: and within 100 ms where the wall clock says nothing of it', () => {
  const { at, bootMs, run } = machine();
  const before = bootMs();
  at.uptimeMs += 60_000;
  run(100);
  assert.ok(bootMs() - before >= 60_000);
});

test('boot time never goes back, is never slow, and a wall clock that is set does not move it', () => {
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

test('the time a machine was suspended is not looked at with every reading', () => {
  const { at, bootMs, run } = machine();
  for (let reading = 0; reading < 99; reading += 1) {
    bootMs();
    run(1);
  }
  assert.equal(at.looks, 1);
});

test("the operating system's boot time advances with its monotonic clock", async () => {
  // Each boot time lies between two readings of the monotonic clock: this process may stand still between any two.
  const reading = () => ({
    earliest: systemClock.monotonicMs(),
    boot: systemClock.bootMs(),
    latest: systemClock.monotonicMs(),
  });
  const from = reading();
  await systemClock.sleep(20);
  const to = reading();
  const elapsedMs = to.boot - from.boot;
  // The operating system tells its boot time in hundredths of a second.
  assert.ok(elapsedMs >= to.earliest - from.latest - 11, `${elapsedMs} ms`);
  assert.ok(elapsedMs <= to.latest - from.earliest + 11, `${elapsedMs} ms`);
});

test('a wait longer than a timer of the system can be, or without an end, does not end early', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const dayMs = 86_400_000;
  const woken: string[] = [];
  systemClock.alarm(60 * dayMs, () => woken.push('in sixty days'));
  const never = systemClock.alarm(Number.POSITIVE_INFINITY, () => woken.push('never'));
  for (let day = 1; day < 60; day += 1) t.mock.timers.tick(dayMs);
  assert.deepEqual(woken, []);
  // The mocked timers begin their next wait at the end of the tick in which the one before it ended.
  for (let day = 60; day < 63; day += 1) t.mock.timers.tick(dayMs);
  assert.deepEqual(woken, ['in sixty days']);
  never.cancel();
});

test('a sleep ends with the first of its signals, at once where one is aborted already, and leaves no listener', async () => {
  const [one, other] = [new AbortController(), new AbortController()];
  const long = systemClock.sleep(86_400_000, one.signal, undefined, other.signal);
  assert.equal(getEventListeners(one.signal, 'abort').length, 1);
  other.abort();
  await long;
  assert.deepEqual(getEventListeners(one.signal, 'abort'), []);
  await systemClock.sleep(86_400_000, one.signal, other.signal);
});
