import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testMeter } from '@interlock/runtime/test-meter';
import { meterVmHosts } from './fleet-metrics.ts';
import type { KnownVmHost } from './vm-hosts.ts';

test('G10: metrics name each VM host that renews or does not, with its machines and its room', async () => {
  const host = (n: number, more: Partial<KnownVmHost> = {}): KnownVmHost => ({
    ...{
      name: `vm-host-${n}`,
      status: 'open',
      isServing: true,
      isLeaving: false,
      address: '',
      zone: '',
      capacity: 10,
      machineCount: 3,
    },
    ...more,
  });
  const hosts = [
    host(0),
    host(1, { isServing: false, status: 'cordoned', machineCount: 0 }),
    host(2, { isServing: false, status: 'lost' }),
    host(3, { isServing: false, status: 'drained' }),
  ];
  const { meter, read } = testMeter();
  const end = meterVmHosts({ fleet: { list: () => hosts }, meter });
  const of = (n: number) => ({ 'interlock.vm_host': `vm-host-${n}` });
  const both = (first: number, second: number) => [
    [of(0), first],
    [of(1), second],
  ];
  assert.deepEqual(await read('interlock.vm_host.serving'), both(1, 0));
  assert.deepEqual(await read('interlock.vm_host.machines'), both(3, 0));
  assert.deepEqual(await read('interlock.vm_host.capacity'), both(10, 10));
  end();
  assert.deepEqual(await read('interlock.vm_host.serving'), []);
});
