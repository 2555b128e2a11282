import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virtualClock } from '@interlock/runtime';
import { createGate } from '../faults/gate.ts';
import { processClock } from './process-clock.ts';

test('a sleep ends on a drifting clock, even if it is too short for the resolution of virtual time', async () => {
  const world = virtualClock();
  await world.pass(39_667.123);
  const clock = processClock(world, { offsetMs: 0, driftPpm: 137 }, createGate());
  // Less than the resolution of virtual time at this moment.
  const restMs = 1e-12;
  assert.equal(world.monotonicMs() + restMs, world.monotonicMs());
  const endMs = clock.monotonicMs();
  await world.drive(clock.sleep(restMs));
  assert.ok(clock.monotonicMs() > endMs);
});
