import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestCloud, openVirtualCloud } from '../testing/test-cloud.ts';
import { runOf, terms } from './test-fleet.ts';

const name = 'vmHosts/vm-host-0';
const renewal = { name, run: runOf(0), address: 'vm-host-0:1', zone: '', guestCapacity: 4, isEmpty: true };

test('VM hosts register at a compute that uses them, and operators see and drain them; a lost one is declared so by name', async () => {
  const { clock, compute, computeAs, store, close } = await openVirtualCloud(1, { settings: { vmHosts: terms } });
  const drive = <Answer>(answer: Promise<Answer>): Promise<Answer> => clock.drive(answer);
  const asHost = computeAs('compute');
  await assert.rejects(drive(compute.renewVmHost(renewal)), { code: 'PERMISSION_DENIED' });
  await assert.rejects(drive(asHost.drainVmHost({ name })), { code: 'PERMISSION_DENIED' });
  assert.deepEqual(await drive(asHost.renewVmHost(renewal)), { ttlMs: terms.ttlMs, isLost: false });
  const { vmHosts } = await drive(compute.listVmHosts({}));
  assert.deepEqual(
    vmHosts.map((one) => [one.name, one.state, one.liveness]),
    [[name, 'OPEN', 'SERVING']],
  );
  assert.equal((await drive(compute.drainVmHost({ name }))).state, 'DRAINED');
  await assert.rejects(drive(compute.resumeVmHost({ name, etag: '1' })), { reason: 'ETAG_MISMATCH' });
  assert.equal((await drive(compute.resumeVmHost({ name }))).state, 'OPEN');
  assert.equal((await drive(compute.declareVmHostLost({ name }))).state, 'LOST');
  const lost = (await store.read('vmhost-vm-host-0')).at(-1);
  assert.match(String(lost?.data.by), /^principals\//);
  assert.equal((await drive(asHost.renewVmHost(renewal))).isLost, false);
  await clock.pass(terms.ttlMs + 1_000);
  assert.equal((await drive(compute.getVmHost({ name }))).liveness, 'UNREACHABLE');
  await drive(compute.drainVmHost({ name }));
  await drive(compute.deleteVmHost({ name }));
  await assert.rejects(drive(compute.getVmHost({ name })), { reason: 'VM_HOST_NOT_FOUND' });
  await drive(close());
});

test('no VM host registers at a compute that runs the guests itself', async () => {
  const { compute, computeAs, close } = await openTestCloud();
  await assert.rejects(computeAs('compute').renewVmHost(renewal), {
    code: 'FAILED_PRECONDITION',
    reason: 'VM_HOSTS_UNUSED',
    message: /GUEST_DRIVER=hosts/,
  });
  assert.deepEqual((await compute.listVmHosts({})).vmHosts, []);
  await close();
});
