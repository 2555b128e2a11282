import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { atMachineTimes } from './shifted-times.ts';

const eventAt = (time: number): RecordedEvent => ({
  id: String(time),
  position: time,
  stream: 'disk-1',
  version: 1,
  type: 'DiskOpened',
  schema: 1,
  data: {},
  time,
  cause: { caller: '', correlationId: '', causes: [] },
});

const hourMs = 3_600_000;

test("events of a service with a shifted clock get the machine's time; others keep theirs", () => {
  for (const byMs of [hourMs, -hourMs]) {
    const shifts = [{ step: 'shift', service: 'disk', byMs, fromMs: 10_000_000, toMs: 10_010_000 } as const];
    const events = [eventAt(9_990_000), eventAt(10_005_000 + byMs), eventAt(10_020_000)];
    const times = (service: 'disk' | 'compute') => atMachineTimes(service, events, shifts).map(({ time }) => time);
    assert.deepEqual(times('disk'), [9_990_000, 10_005_000, 10_020_000]);
    assert.deepEqual(times('compute'), [9_990_000, 10_005_000 + byMs, 10_020_000]);
  }
});
