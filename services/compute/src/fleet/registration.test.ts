import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, cause, openFleet, runOf, terms } from './test-fleet.ts';

const name = 'vmHosts/vm-host-0';

test('a host registers with its first renewal, and shows what it reported with its newest', async () => {
  const { clock, renew, shown, fleet, api } = openFleet();
  await assert.rejects(shown(0), { code: 'NOT_FOUND', reason: 'VM_HOST_NOT_FOUND' });
  assert.deepEqual(await renew(0), { ttlMs: terms.ttlMs, isLost: false });
  const createTime = new Date(clock.now());
  await clock.pass(5_000);
  await renew(0, { guestCapacity: 20 });
  assert.deepEqual(await shown(0), {
    ...{ name, state: 'OPEN', liveness: 'SERVING', zone: 'z1', address: 'vm-host-0:1', guestCapacity: 20 },
    ...{ machineCount: 0, createTime, renewTime: new Date(clock.now()), etag: '1' },
    ...{ blockedMachineCount: 0, blockedMachines: [] },
  });
  await renew(1);
  const { vmHosts, nextPageToken } = await api.listVmHosts({ pageSize: 1, pageToken: '' });
  assert.deepEqual([vmHosts.map((one) => one.name), nextPageToken === ''], [[name], false]);
  await fleet.refresh();
  assert.deepEqual(
    fleet.list().map((one) => [one.name, one.isServing, one.capacity]),
    [
      ['vm-host-0', true, 20],
      ['vm-host-1', true, 10],
    ],
  );
  assert.equal(fleet.find(name)?.address, 'vm-host-0:1');
  assert.equal(fleet.find('vmHosts/other'), undefined);
});

test('a host without a run, an address or room is refused, and is not registered', async () => {
  const { api, shown } = openFleet();
  const good = { name, run: runOf(0), address: 'a:1', zone: '', guestCapacity: 1, isEmpty: false, isLeaving: false };
  const refused = [
    [{ run: 'one' }, 'RUN_INVALID'],
    [{ address: '' }, 'ADDRESS_INVALID'],
    [{ address: 'a:1,b:1' }, 'ADDRESS_INVALID'],
    [{ guestCapacity: 0 }, 'GUEST_CAPACITY_INVALID'],
    [{ name: 'vm-host-0' }, 'NAME_INVALID'],
  ] as const;
  for (const [differing, reason] of refused) {
    await assert.rejects(api.renewVmHost({ ...good, ...differing }, call), { code: 'INVALID_ARGUMENT', reason });
  }
  await assert.rejects(shown(0), { reason: 'VM_HOST_NOT_FOUND' });
});

test('the name of a host is free for another run once the run before it does not renew', async () => {
  const { clock, renew, shown } = openFleet();
  await renew(0);
  const other = { run: runOf(7) };
  const refused = { code: 'FAILED_PRECONDITION', reason: 'VM_HOST_NAME_IN_USE', message: /at vm-host-0:1/ };
  await clock.pass(terms.ttlMs - 1_000);
  await assert.rejects(renew(0, other), refused);
  await renew(0);
  await clock.pass(terms.ttlMs - 1_000);
  await assert.rejects(renew(0, other), refused);
  await clock.pass(2_000);
  await renew(0, other);
  await assert.rejects(renew(0), refused);
  assert.equal((await shown(0)).state, 'OPEN');
});

test('two renewals at the same time are both stored, one after the other', async () => {
  const { renew, shown, events } = openFleet();
  await Promise.all([renew(0), renew(0), renew(0)]);
  assert.equal((await shown(0)).etag, '1');
  assert.equal((await events('vmhost-vm-host-0')).length, 1);
});

test('a lost host learns that when it renews, and is open again only once it has no guest and its machines are off', async () => {
  const { renew, shown, api, fleet, runAt, stateOf, vms, watch } = openFleet();
  await renew(0);
  const machine = await runAt('m', 0);
  assert.equal((await api.declareVmHostLost({ name, etag: '' }, call)).state, 'LOST');
  assert.equal((await renew(0)).isLost, true);
  await fleet.refresh();
  assert.equal(fleet.find(name)?.isServing, false);
  // Its guests are ended, but the machine has not been stopped by its record.
  assert.equal((await renew(0, { isEmpty: true })).isLost, true);
  await watch.round(new AbortController().signal);
  assert.equal(await stateOf(machine), 'stopping HOST_LOST');
  assert.equal((await renew(0, { isEmpty: true })).isLost, true);
  await vms.transact(machine, () => [{ type: 'VmStopped', at: 1 }], cause);
  assert.equal((await renew(0)).isLost, true);
  assert.equal((await shown(0)).state, 'LOST');
  assert.equal((await renew(0, { isEmpty: true })).isLost, false);
  assert.deepEqual([(await shown(0)).state, (await renew(0)).isLost], ['OPEN', false]);
});

test('a host that may still register itself, or on which a machine is, is not deleted', async () => {
  const { clock, renew, shown, api, runAt, vms } = openFleet();
  await renew(0);
  const remove = () => api.deleteVmHost({ name, etag: '' }, call);
  const inUse = (message: RegExp) => ({ code: 'FAILED_PRECONDITION', reason: 'VM_HOST_IN_USE', message });
  await assert.rejects(remove(), inUse(/is open/));
  const machine = await runAt('m', 0);
  await api.declareVmHostLost({ name, etag: '' }, call);
  await clock.pass(terms.ttlMs + 1_000);
  await assert.rejects(remove(), inUse(/1 machines are on/));
  await vms.transact(machine, () => [{ type: 'VmStopped', at: 1 }], cause);
  await renew(0);
  await assert.rejects(remove(), inUse(/responds/));
  await clock.pass(terms.ttlMs + 1_000);
  await remove();
  await remove();
  await assert.rejects(shown(0), { reason: 'VM_HOST_NOT_FOUND' });
  await assert.rejects(api.deleteVmHost({ name: 'vmHosts/never', etag: '' }, call), { reason: 'VM_HOST_NOT_FOUND' });
  await renew(0);
  assert.equal((await shown(0)).liveness, 'SERVING');
});
