import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type LossClient, type LossWorld, openLossWorld, readContent, testEveryLoss } from './key-losses.ts';
import { sdkLossClient } from './sdk-losses.ts';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';
import { refusedAs } from './test-compute.ts';

// Over a gateway and services in this process: what Azure's clients see of a loss. test-controls.test.ts and e2e/scenarios revoke
// keys of services that are processes.

let client: LossClient;
let cloud: AzurePlace;
let world: LossWorld['world'];
let content: Buffer;

before(async () => {
  cloud = await azurePlace();
  const opened = await openLossWorld({ ...cloud, clientId: cloud.place.credentials.id }, 'kv-revoke');
  ({ world, content } = opened);
  client = sdkLossClient(opened);
});
after(() => cloud?.close());

test('CMK-110: a URL reads a disk as a fixed VHD, with ranges and footer; a wrong signature is refused', async () => {
  const { compute, group } = world;
  await assert.rejects(compute.disks.grantAccess(group, 'data', { access: 'Read', durationInSeconds: 60 }), {
    statusCode: 409,
  });
  await compute.virtualMachines.deallocate(group, 'vm');
  assert.ok(content.equals(await readContent(client, content.length)));
  const { accessSAS = '' } = await compute.disks.grantAccess(group, 'data', { access: 'Read', durationInSeconds: 60 });
  assert.equal((await compute.disks.get(group, 'data')).diskState, 'ActiveSAS');
  const head = await fetch(accessSAS, { method: 'HEAD' });
  assert.equal(head.headers.get('content-length'), String(1024 ** 3 + 512));
  const footer = Buffer.from(await (await fetch(accessSAS, { headers: { range: 'bytes=-512' } })).arrayBuffer());
  assert.deepEqual([footer.length, footer.toString('latin1', 0, 8)], [512, 'conectix']);
  const last = `bytes=${1024 ** 3 - 4096}-`;
  const tail = Buffer.from(await (await fetch(accessSAS, { headers: { range: last } })).arrayBuffer());
  assert.deepEqual([tail.length, tail.toString('latin1', 4096, 4104)], [4_608, 'conectix']);
  assert.equal((await fetch(accessSAS.replace(/sig=.{10}/, 'sig=AAAAAAAAAA'))).status, 403);
  assert.equal((await fetch(`${accessSAS}&comp=page`, { method: 'PUT' })).status, 403, 'for reading only');
  assert.equal((await fetch(accessSAS, { headers: { range: `bytes=${2 * 1024 ** 3}-` } })).status, 416);
  await compute.disks.revokeAccess(group, 'data');
  assert.equal((await fetch(accessSAS, { headers: { range: 'bytes=0-9' } })).status >= 400, true, 'revoked');
  await compute.virtualMachines.start(group, 'vm');
});

test('CMK-130: a set with disks cannot be deleted, and its machine keeps running', async () => {
  const { compute, group } = world;
  await assert.rejects(compute.diskEncryptionSets.delete(group, 'des1'), refusedAs('OperationNotAllowed', /des1/));
  assert.equal((await client.view()).power, 'PowerState/running');
});

testEveryLoss(() => ({ client, content }));
