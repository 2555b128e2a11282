import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { until } from '../cloud/until.ts';
import { boundMs, type LossClient, type LossWorld, openLossWorld, readContent, testEveryLoss } from './key-losses.ts';
import { sdkLossClient } from './sdk-losses.ts';
import { refusedAs } from './test-compute.ts';

const vault = 'kv-revoke';
let client: LossClient;
let cloud: LossWorld['cloud'];
let world: LossWorld['world'];
let key: LossWorld['key'];
let content: Buffer;

before(async () => {
  const opened = await openLossWorld(vault);
  ({ cloud, world, key, content } = opened);
  client = sdkLossClient(opened);
});
after(() => cloud?.stop());

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
  assert.equal(await powerOf(), 'PowerState/running');
});

const powerOf = async () => (await client.view()).power;

test("G10: the trace of a revocation over REST starts in the gateway and has the client's ids", async () => {
  const { credential, vaultUrl, test: cloudOfTest } = cloud;
  const { token } = await credential.getToken('https://vault.azure.net/.default');
  const clientId = randomUUID();
  const correlationId = randomUUID();
  const change = (enabled: boolean, headers: Readonly<Record<string, string>> = {}) =>
    fetch(`${vaultUrl(vault)}/keys/${key.key}/${key.keyUrl.split('/').at(-1)}?api-version=7.4`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ attributes: { enabled } }),
    });
  const ids = { 'x-ms-client-request-id': clientId, 'x-ms-correlation-request-id': correlationId };
  const reply = await change(false, ids);
  assert.equal(reply.status, 200, await reply.clone().text());
  for (const [name, value] of Object.entries(ids)) assert.equal(reply.headers.get(name), value);
  await until('the machine is stopped', async () => (await powerOf()) === 'PowerState/stopped', boundMs);
  const { spans } = cloudOfTest.cloud;
  const stop = await until('the span of the stop arrives', async () =>
    spans
      .findByAttribute('http.request.header.x-ms-client-request-id', clientId)
      .flatMap(({ traceId }) => spans.spansOfTrace(traceId))
      .find(({ name }) => name === 'keyStop virtual machine'),
  );
  // Each process exports its spans on its own schedule.
  const rootsNow = () => spans.spansOfTrace(stop.traceId).filter(({ parentSpanId }) => parentSpanId === undefined);
  const roots = await until('the root of the trace arrives', async () => rootsNow().length > 0 && rootsNow());
  assert.deepEqual(
    roots.map(({ service, name, attributes }) => [service, name, attributes['interlock.correlation_id']]),
    [['gateway', 'PATCH /:vault/keys/:key/:version', correlationId]],
  );
  await until('the spans of every service arrive', async () => {
    const services = new Set(spans.spansOfTrace(stop.traceId).map(({ service }) => service));
    return ['key-vault', 'disk-encryption-set', 'disk', 'compute'].every((service) => services.has(service));
  });
  assert.equal((await change(true)).status, 200);
  await until('the machine starts', async () => {
    await world.compute.virtualMachines.start(world.group, 'vm');
    return true;
  });
});

testEveryLoss(() => ({ client, content }));
