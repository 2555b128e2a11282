import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { withTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { type AzureCloud, azureCloud, credentialOf } from './test-azure-cloud.ts';
import { type ComputeWorld, computeWorld, type VaultWithKey } from './test-compute.ts';

/** What `npm run up -- --azure --test-controls` allows administrators: clocks, faults and estates, through the gateway. */

let cloud: AzureCloud;
let world: ComputeWorld;
let key: VaultWithKey;
before(async () => {
  cloud = await azureCloud(withTelemetry, withTelemetry, { hasTestControls: true });
  world = computeWorld({ ...cloud, ...cloud.access });
  key = await world.vaultWithKey('kv-controls');
});
after(() => cloud?.stop());

const dayMs = 86_400_000;

/** A credential without a token from before the clock was advanced. */
const administrator = () =>
  credentialOf(cloud.access, { id: cloud.access.clientId, secret: cloud.test.cloud.administrator.secret });

/** Sends a request to `/interlock/v1`. */
const control = async (path: string, body?: unknown, credential = administrator()) => {
  const { token } = await credential.getToken('https://management.azure.com/.default');
  const isText = typeof body === 'string';
  const reply = await fetch(`${cloud.access.url}/interlock/v1/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': isText ? 'application/yaml' : 'application/json' },
    ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
  });
  const text = await reply.text();
  const isJson = reply.headers.get('content-type')?.includes('json') === true;
  return { status: reply.status, text, body: isJson ? JSON.parse(text) : undefined };
};
const refusal = async (...given: Parameters<typeof control>): Promise<readonly [number, string]> => {
  const { status, body } = await control(...given);
  return [status, body.error.code];
};
/** Query parameters that name a group. */
const place = (group: string): string => `subscription=${cloud.access.subscription}&group=${group}`;

test('refuses a principal without a role at the root, and invalid input', async () => {
  const { identity } = cloud.test.clients;
  const { tenant } = cloud.test.cloud.administrator;
  const principalId = randomUUID();
  const wish = { principalId, tenant, type: 'APPLICATION', displayName: 'Olga' } as const;
  const { name: principal } = await identity.createPrincipal(wish);
  const { secretText: secret } = await identity.addSecret({ principal, secretId: 'one' });
  const olga = credentialOf(cloud.access, { id: principalId, secret });
  for (const path of ['clock', 'faults', `estate?${place('g1')}`])
    assert.deepEqual(await refusal(path, undefined, olga), [403, 'AuthorizationFailed'], path);
  assert.deepEqual(await refusal('clock', { advance: '7' }), [400, 'InvalidRequestContent']);
  assert.deepEqual(await refusal('clock', { advance: '9999999d' }), [400, 'InvalidRequestContent']);
  assert.deepEqual(await refusal('faults', { action: 'cut', part: 'disk' }), [400, 'NotSupported']);
  assert.deepEqual(await refusal('faults', { action: 'kill', part: 'moon' }), [400, 'InvalidRequestContent']);
  assert.deepEqual(await refusal('faults', { action: 'pause', part: 'identity' }), [400, 'InvalidRequestContent']);
  assert.deepEqual(await refusal('estate?group=g1'), [400, 'InvalidParameter']);
  assert.deepEqual(await refusal(`estate?${place('g2')}`, 'machines: 7'), [400, 'InvalidEstate']);
});

test('injects a fault; the launcher ends it after its time', async () => {
  const stateOf = async (): Promise<string> => {
    const { body } = await control('faults');
    return body.value.find(({ part }: { readonly part: string }) => part === 'compute').state;
  };
  assert.equal(await stateOf(), 'running');
  assert.equal((await control('faults', { action: 'pause', part: 'compute' })).status, 202);
  await until('compute is paused', async () => (await stateOf()) === 'paused');
  assert.equal((await control('faults', { action: 'resume', part: 'compute' })).status, 202);
  await until('compute runs', async () => (await stateOf()) === 'running');
  assert.equal((await control('faults', { action: 'kill', part: 'compute', for: '100ms' })).status, 202);
  await until('compute runs again', async () => (await stateOf()) === 'running');
});

test('exports an estate as a file, imports it into another group, and a second import creates nothing', async () => {
  const set = await world.grantedSet('des1', key);
  const { compute, group, location } = world;
  await compute.virtualMachines.createOrUpdate(group, 'vm', {
    location,
    storageProfile: {
      osDisk: { createOption: 'Empty', name: 'os', diskSizeGB: 1, managedDisk: { diskEncryptionSet: { id: set.id } } },
    },
  });
  const { status, text } = await control(`estate?${place(group)}`);
  assert.equal(status, 200);
  assert.match(text, /^machines:\n {2}- \{name: vm, osDisk: os/m);
  const made = await control(`estate?${place('copies')}&vaultSuffix=copy`, text);
  assert.equal(made.status, 200, made.text);
  assert.ok(made.body.made.includes('machine vm') && made.body.made.includes('vault kv-controls-copy'));
  const copy = await compute.virtualMachines.get('copies', 'vm');
  assert.equal(copy.provisioningState, 'Succeeded');
  assert.deepEqual((await control(`estate?${place('copies')}&vaultSuffix=copy`, text)).body.made, [], 'repeated');
});

const isStopped = async (): Promise<boolean> => {
  const { statuses = [] } = await world.compute.virtualMachines.instanceView(world.group, 'vm');
  return statuses.some(({ code }) => code === 'PowerState/stopped');
};

// Not about test controls. The spans of a trace come from processes, and each cloud of processes takes ten seconds.
test("CMK-100, G10: the trace of a revocation over REST starts in the gateway and has the client's ids", async () => {
  const { credential, vaultUrl, test: cloudOfTest } = cloud;
  const { compute, group } = world;
  const { token } = await credential.getToken('https://vault.azure.net/.default');
  const clientId = randomUUID();
  const correlationId = randomUUID();
  const change = (enabled: boolean, headers: Readonly<Record<string, string>> = {}) =>
    fetch(`${vaultUrl('kv-controls')}/keys/${key.key}/${key.keyUrl.split('/').at(-1)}?api-version=7.4`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ attributes: { enabled } }),
    });
  const ids = { 'x-ms-client-request-id': clientId, 'x-ms-correlation-request-id': correlationId };
  const reply = await change(false, ids);
  assert.equal(reply.status, 200, await reply.clone().text());
  for (const [name, value] of Object.entries(ids)) assert.equal(reply.headers.get(name), value);
  await until('the machine is stopped', isStopped);
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
    await compute.virtualMachines.start(group, 'vm');
    return true;
  });
});

test('CMK-104, KV-63: after the clock advances, a key has expired and its machines are stopped, and a deleted vault is purged', async () => {
  const { group, vaults, location } = world;
  const before = (await control('clock')).body;
  assert.equal(before.aheadSeconds, 0);
  await key.keys.updateKeyProperties(key.key, { expiresOn: new Date(Date.parse(before.now) + 5 * dayMs) });
  const sku = { family: 'A', name: 'standard' } as const;
  const properties = { tenantId: cloud.access.tenant, sku, softDeleteRetentionInDays: 7, accessPolicies: [] };
  await vaults.vaults.createOrUpdate(group, 'kv-short', { location, properties });
  await vaults.vaults.delete(group, 'kv-short');
  const { scheduledPurgeDate } = (await vaults.vaults.getDeleted('kv-short', location)).properties ?? {};

  const { status, body, text } = await control('clock', { advance: '8d' });
  assert.deepEqual([status, body?.aheadSeconds], [200, (8 * dayMs) / 1_000], text);
  assert.ok(Date.parse(body.now) >= Date.parse(before.now) + 8 * dayMs);
  assert.ok(
    scheduledPurgeDate !== undefined && Date.parse(body.now) > scheduledPurgeDate.getTime(),
    `${scheduledPurgeDate}`,
  );
  // Key-vault looks at what is due every 10 s, so both are awaited at once. The token expired meanwhile: clients fetch another one.
  await Promise.all([
    until('the machine is stopped', isStopped),
    until('the vault is purged', () =>
      vaults.vaults.getDeleted('kv-short', location).then(
        () => false,
        ({ statusCode }: { readonly statusCode: number }) => statusCode === 404,
      ),
    ),
  ]);
});
