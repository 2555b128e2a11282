import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import type { Recorded } from './history.ts';
import { judgePlacedIo } from './placed-io.ts';

const event = (type: string, time: number, data: object = {}): RecordedEvent =>
  ({ stream: 'vm-machines/a', type, time, data }) as unknown as RecordedEvent;
const placed = (host: number, time: number) => event('VmPlaced', time, { host: `vmHosts/vm-host-${host}`, number: 1 });
const io = (vmHost: string | undefined, invokedAt: number, ok = true): Recorded =>
  ({
    ...{ machine: 'machines/a', disk: 'disks/a', op: 'write', offset: 0, length: 4_096, seq: 1, invokedAt },
    ...{ completedAt: invokedAt + 1, invokedMonotonicMs: 0, completedMonotonicMs: 0, ok, reason: ok ? '' : 'X' },
    ...(vmHost === undefined ? {} : { vmHost }),
  }) as Recorded;
const moved = [placed(0, 10), event('VmStarted', 12), event('VmStopped', 100), placed(1, 150), event('VmStarted', 160)];
const holds = (...history: readonly Recorded[]) => judgePlacedIo(moved, history).map((row) => row.holds);

test('G2: a guest works only at the host of its machine, and only while the machine is on there', () => {
  assert.deepEqual(holds(io('vm-host-0', 50), io('vm-host-0', 100), io('vm-host-1', 170)), [true]);
  assert.deepEqual(holds(io('vm-host-0', 101)), [false], 'after it was off');
  assert.deepEqual(holds(io('vm-host-0', 170)), [false], 'beside the guest at another host');
  assert.deepEqual(holds(io('vm-host-1', 50)), [false], 'before it was placed there');
  assert.deepEqual(holds(io('vm-host-0', 170, false)), [true], 'an operation that fails did nothing');
});

test('nothing is judged of guests that compute runs', () => assert.deepEqual(holds(io(undefined, 500)), []));
