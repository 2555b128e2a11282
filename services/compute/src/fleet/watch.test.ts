import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CursorConflict } from '@interlock/event-store';
import { lossOf } from '../vm/test-machine.ts';
import { chooseVmHost } from './choice.ts';
import { placementGuard } from './placement.ts';
import { call, cause, openFleet, terms } from './test-fleet.ts';

const signal = new AbortController().signal;
const name = 'vmHosts/vm-host-0';
const off = { type: 'VmStopped', at: 2 } as const;

test('a host that does not renew is unreachable after its time to live, and its machines run; after the longer time it is lost', async () => {
  const { pass, renew, runAt, stateOf, shown, fleet, preempted, events } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const [gone, other] = [await runAt('gone', 0), await runAt('other', 1)];
  await pass(terms.ttlMs + 1_000, 1);
  assert.deepEqual([(await shown(0)).liveness, (await shown(0)).state], ['UNREACHABLE', 'OPEN']);
  assert.equal(fleet.find(name)?.isServing, false);
  await pass(terms.lostMs - terms.ttlMs - 6_000, 1);
  assert.deepEqual([await stateOf(gone), (await shown(0)).state], ['running', 'OPEN']);
  await pass(10_000, 1);
  assert.equal((await shown(0)).state, 'LOST');
  assert.deepEqual([await stateOf(gone), await stateOf(other)], ['stopping HOST_LOST', 'running']);
  assert.deepEqual(preempted, [gone]);
  const [registered, lost] = await events('vmhost-vm-host-0');
  assert.deepEqual(
    [lost?.type, lost?.data.by, lost?.cause.causes],
    ['VmHostLost', '', [{ id: registered?.id, kind: 'timer' }]],
  );
  const stopping = (await events(`vm-${gone}`)).at(-1);
  assert.deepEqual([stopping?.type, stopping?.cause.causes], ['VmStopping', [{ id: lost?.id, kind: 'step' }]]);
});

test('while no host renews, none is lost without an operator: this side may be the one that is cut off', async () => {
  const { pass, renew, shown, runAt, stateOf, api, watch } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const machine = await runAt('m', 0);
  await pass(terms.lostMs * 2);
  assert.deepEqual([(await shown(0)).state, (await shown(1)).state], ['OPEN', 'OPEN']);
  await api.declareVmHostLost({ name, etag: '' }, call);
  await watch.round(signal);
  assert.equal(await stateOf(machine), 'stopping HOST_LOST');
});

test('time in which the hosts were not read counts for none of them', async () => {
  const { clock, pass, renew, shown } = openFleet();
  for (const n of [0, 1]) await renew(n);
  await pass(5_000, 0, 1);
  await clock.pass(terms.lostMs * 2);
  await renew(1);
  await pass(5_000, 1);
  assert.equal((await shown(0)).state, 'OPEN');
  await pass(terms.lostMs, 1);
  assert.equal((await shown(0)).state, 'LOST');
});

test('a drained host is not lost when its process is stopped', async () => {
  const { pass, renew, shown, api } = openFleet();
  for (const n of [0, 1]) await renew(n);
  assert.equal((await api.drainVmHost({ name, cordonOnly: false, etag: '' }, call)).state, 'DRAINED');
  await pass(terms.lostMs * 2, 1);
  assert.equal((await shown(0)).state, 'DRAINED');
});

test('a draining host stops at most 4 machines at a time, and is drained once none is on there', async () => {
  const { pass, renew, shown, runAt, stateOf, api, vms } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const machines = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((one) => runAt(one, 0)));
  const states = async () => (await Promise.all(machines.map(stateOf))).map((state) => state.split(' ')[0]);
  assert.equal((await api.drainVmHost({ name, cordonOnly: false, etag: '' }, call)).machineCount, 6);
  await pass(10_000, 0, 1);
  const four = ['stopping', 'stopping', 'stopping', 'stopping'];
  assert.deepEqual(await states(), [...four, 'running', 'running']);
  assert.equal(await stateOf(machines[0] ?? ''), 'stopping HOST_DRAINED');
  await vms.transact(machines[1] ?? '', () => [off], cause);
  await pass(5_000, 0, 1);
  assert.deepEqual(await states(), ['stopping', 'stopped', 'stopping', 'stopping', 'stopping', 'running']);
  for (const machine of machines) {
    if ((await stateOf(machine)).startsWith('stopping')) await vms.transact(machine, () => [off], cause);
  }
  await pass(5_000, 0, 1);
  assert.equal((await shown(0)).state, 'DRAINING');
  await vms.transact(machines[5] ?? '', () => [off], cause);
  await pass(5_000, 0, 1);
  assert.equal((await shown(0)).state, 'DRAINED');
});

test('CMK-102: a machine whose next start would fail because of a lost key stays on a draining host, and is named', async () => {
  const { pass, renew, shown, runAt, stateOf, api } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const loss = { ...lossOf('des', 6), disk: 'd', traceId: 't' };
  const blocked = await runAt('blocked', 0, { type: 'NextStartBlocked', id: 'n', blocked: [loss], at: 2 });
  const free = await runAt('free', 0);
  const draining = await api.drainVmHost({ name, cordonOnly: false, etag: '' }, call);
  assert.deepEqual([draining.machineCount, draining.blockedMachines], [2, [blocked]]);
  await pass(5_000, 0, 1);
  assert.deepEqual([await stateOf(blocked), await stateOf(free)], ['running', 'stopping HOST_DRAINED']);
  const { state, blockedMachineCount, blockedMachines } = await shown(0);
  assert.deepEqual([state, blockedMachineCount, blockedMachines], ['DRAINING', 1, [blocked]]);
});

test('machines of a host whose process ends soon start at other hosts, and its record does not change', async () => {
  const { pass, renew, shown, runAt, stateOf, watch, preempted, fleet, events } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const machine = await runAt('m', 0);
  await renew(0, { isLeaving: true });
  await watch.round(signal);
  assert.deepEqual([await stateOf(machine), (await shown(0)).state], ['stopping HOST_DRAINED', 'OPEN']);
  assert.deepEqual(preempted, [machine]);
  const [registered] = await events('vmhost-vm-host-0');
  assert.deepEqual((await events(`vm-${machine}`)).at(-1)?.cause.causes, [{ id: registered?.id, kind: 'step' }]);
  assert.equal(chooseVmHost(fleet.list(), { avoid: 'vmHosts/vm-host-1' }), undefined);
  // Its process is gone: what is left there is not stopped as if the host could move it.
  await pass(terms.ttlMs + 1_000, 1);
  const late = await runAt('late', 0);
  await watch.round(signal);
  assert.equal(await stateOf(late), 'running');
  // The next process of the host.
  await renew(0);
  await watch.round(signal);
  assert.deepEqual([await stateOf(late), (await shown(0)).liveness], ['running', 'SERVING']);
  assert.equal(chooseVmHost(fleet.list(), { avoid: 'vmHosts/vm-host-1' }), name);
});

test('a draining host stops no machine that no other host takes', async () => {
  const { pass, renew, runAt, stateOf, api } = openFleet();
  await renew(0);
  await renew(1, { guestCapacity: 1 });
  await pass(terms.ttlMs + 5_000, 0);
  const machines = [await runAt('a', 0), await runAt('b', 0)];
  await api.drainVmHost({ name, cordonOnly: false, etag: '' }, call);
  await pass(20_000, 0);
  assert.deepEqual(await Promise.all(machines.map(stateOf)), ['running', 'running']);
  await renew(1, { guestCapacity: 1 });
  await pass(5_000, 0);
  assert.deepEqual(await Promise.all(machines.map(stateOf)), ['stopping HOST_DRAINED', 'running']);
});

test('a cordoned host keeps its machines, and takes new ones once it is resumed', async () => {
  const { pass, renew, runAt, stateOf, api, hosts, store } = openFleet();
  for (const n of [0, 1]) await renew(n);
  const machine = await runAt('m', 0);
  assert.equal((await api.drainVmHost({ name, cordonOnly: true, etag: '' }, call)).state, 'CORDONED');
  await pass(10_000, 0, 1);
  assert.equal(await stateOf(machine), 'running');
  const refused = { code: 'UNAVAILABLE', reason: 'VM_HOST_NOT_OPEN', message: /cordoned/ };
  await assert.rejects(placementGuard({ store, hosts }, name), refused);
  assert.equal((await api.resumeVmHost({ name, etag: '' }, call)).state, 'OPEN');
  await placementGuard({ store, hosts }, name);
});

for (const [what, close] of [
  ['cordoned', { cordonOnly: true }],
  ['draining', { cordonOnly: false }],
  ['lost', undefined],
] as const) {
  test(`a machine whose host is ${what} after it was chosen is not placed there`, async () => {
    const { renew, api, hosts, store, vms, runAt } = openFleet();
    await renew(0);
    const machine = await runAt('m', 1);
    const guard = await placementGuard({ store, hosts }, name);
    if (close) await api.drainVmHost({ name, ...close, etag: '' }, call);
    else await api.declareVmHostLost({ name, etag: '' }, call);
    const placing = vms.transact(machine, () => [{ type: 'VmPlaced', host: name, number: 2, at: 2 }], cause, { guard });
    await assert.rejects(placing, CursorConflict);
  });
}

test('placements at an open host do not disturb each other', async () => {
  const { renew, hosts, store, vms, runAt } = openFleet();
  await renew(0);
  for (const machine of [await runAt('a', 1), await runAt('b', 1)]) {
    const guard = await placementGuard({ store, hosts }, name);
    await vms.transact(machine, () => [{ type: 'VmPlaced', host: name, number: 2, at: 2 }], cause, { guard });
  }
});
