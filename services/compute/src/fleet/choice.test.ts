import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseVmHost, roomAt } from './choice.ts';
import type { KnownVmHost } from './vm-hosts.ts';

const host = (name: string, differing: Partial<KnownVmHost> = {}): KnownVmHost => ({
  ...{
    name,
    status: 'open',
    isServing: true,
    isLeaving: false,
    address: `${name}:1`,
    zone: '',
    capacity: 10,
    machineCount: 0,
  },
  ...differing,
});

test('a start goes to the host on which fewest machines are, and to the first by name of equal ones', () => {
  const hosts = [host('c', { machineCount: 1 }), host('b'), host('a'), host('d', { machineCount: 5 })];
  assert.equal(chooseVmHost(hosts, {}), 'vmHosts/a');
  assert.equal(chooseVmHost(hosts, { avoid: 'vmHosts/a' }), 'vmHosts/b');
  assert.equal(chooseVmHost(hosts.slice(0, 1), { avoid: 'vmHosts/c' }), undefined);
});

test('a machine starts at the host where it ran last, unless that is avoided, or takes nothing', () => {
  const hosts = [host('a'), host('b', { machineCount: 9, zone: 'z2' })];
  assert.equal(chooseVmHost(hosts, { last: 'vmHosts/b', zone: 'z1' }), 'vmHosts/b');
  assert.equal(chooseVmHost(hosts, { last: 'vmHosts/b', avoid: 'vmHosts/b' }), 'vmHosts/a');
  assert.equal(chooseVmHost([host('a'), host('b', { status: 'draining' })], { last: 'vmHosts/b' }), 'vmHosts/a');
  assert.equal(chooseVmHost([host('a'), host('b', { machineCount: 10 })], { last: 'vmHosts/b' }), 'vmHosts/a');
});

test('a start goes to the zone of its disks before any other, and elsewhere if no host there has room', () => {
  const near = host('near', { zone: 'z1', machineCount: 9 });
  const far = host('far', { zone: 'z2' });
  assert.equal(chooseVmHost([far, near], { zone: 'z1' }), 'vmHosts/near');
  assert.equal(chooseVmHost([near, far], { zone: 'z1' }), 'vmHosts/near');
  assert.equal(chooseVmHost([near, far], { zone: '' }), 'vmHosts/far');
  assert.equal(chooseVmHost([far, { ...near, machineCount: 10 }], { zone: 'z1' }), 'vmHosts/far');
});

test('a host that is full, not open or does not renew takes nothing', () => {
  const closed = [
    host('full', { machineCount: 10 }),
    host('unreachable', { isServing: false }),
    host('leaving', { isLeaving: true }),
    ...(['cordoned', 'draining', 'drained', 'lost'] as const).map((status) => host(status, { status })),
  ];
  assert.equal(chooseVmHost(closed, {}), undefined);
  assert.equal(roomAt(closed), 0);
  assert.equal(roomAt([...closed, host('a'), host('b', { machineCount: 7 })]), 13);
});
