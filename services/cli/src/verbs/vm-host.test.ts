import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stateOf } from '../commands/settle.ts';
import { testProgram } from '../session/test-session.ts';

const name = 'vmHosts/vm-host-0';
const host = {
  ...{ name, state: 'OPEN', liveness: 'SERVING', zone: 'a', address: 'vm-host:1', guestCapacity: 10, machineCount: 3 },
  ...{ createTime: '2026-12-01T00:00:00Z', renewTime: '2026-12-01T00:00:00Z', etag: '1' },
};
const ran = async (...args: readonly string[]) => {
  const answers = { GetVmHost: host, DrainVmHost: host, ResumeVmHost: host, DeclareVmHostLost: host, DeleteVmHost: {} };
  const { run, sent, lines } = testProgram({ ...answers, ListVmHosts: { vmHosts: [host], nextPageToken: '' } });
  await run('vm-host', ...args);
  return { call: [sent.at(-1)?.method, sent.at(-1)?.request], shown: lines.join('\n') };
};

test('vm-host list shows each host with its state, its liveness, its machines and its room', async () => {
  const { shown } = await ran('list');
  for (const text of ['vm-host-0', 'OPEN', 'SERVING', '3', '10'])
    assert.ok(shown.includes(text), `${text} in ${shown}`);
  assert.ok(shown.split('\n').every((line) => line.length <= 100));
});

test('vm-host cordon refuses only what is new; the other verbs take the short name of a host', async () => {
  assert.deepEqual((await ran('cordon', 'vm-host-0')).call, ['DrainVmHost', { name, cordonOnly: true }]);
  assert.deepEqual((await ran('drain', 'vm-host-0')).call, ['DrainVmHost', { name }]);
  assert.deepEqual((await ran('resume', 'vm-host-0')).call, ['ResumeVmHost', { name }]);
  assert.deepEqual((await ran('show', name)).call, ['GetVmHost', { name }]);
  assert.deepEqual((await ran('declare-lost', 'vm-host-0')).call, ['DeclareVmHostLost', { name }]);
  assert.deepEqual((await ran('delete', 'vm-host-0')).call, ['DeleteVmHost', { name }]);
});

test('vm-host drain --wait says what is left, which machines stay for a lost key, and the end', () => {
  const draining = { name, state: 'DRAINING', machineCount: 12, blockedMachineCount: 0, blockedMachines: [] };
  assert.equal(stateOf(draining), 'DRAINING, left: 12 machines');
  const blockedMachines = ['subscriptions/s/resourceGroups/g/virtualMachines/web1'];
  assert.equal(
    stateOf({ ...draining, machineCount: 1, blockedMachineCount: 3, blockedMachines }),
    'DRAINING, left: 1 machine; until their lost keys can be used, these stay: web1 and 2 more',
  );
  assert.equal(stateOf({ ...draining, state: 'DRAINED', machineCount: 0 }), 'DRAINED');
});

test('vm create takes what becomes of the machine when its VM host is lost', async () => {
  const machine = { name: 'subscriptions/s/resourceGroups/g/virtualMachines/m', powerState: 'RUNNING' };
  const { run, sent } = testProgram({ CreateVirtualMachine: { ...machine, provisioningState: 'SUCCEEDED' } });
  const disk = ['--location', 'l', '--os-disk', 'g/d', '--subscription', 's'];
  await run('vm', 'create', 'g/m', ...disk, '--on-host-loss', 'restart');
  assert.equal(sent.at(-1)?.request.hostLossPolicy, 'RESTART');
  await assert.rejects(run('vm', 'create', 'g/m', ...disk, '--on-host-loss', 'never'), /restart/i);
});
