import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';

/** Two processes of the gateway on one port and one store. One is killed while it works. */

let cloud: AzureCloud;
before(async () => {
  // Every request that takes longer than 1 ms becomes an operation.
  cloud = await azureCloud({ GATEWAY_HOLD_MS: '1' }, {}, { replicas: 2 });
});
after(() => cloud?.stop());

const location = 'westeurope';
const disks = 'providers/Microsoft.Compute/disks';
const machines = 'providers/Microsoft.Compute/virtualMachines';

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: bodies of several kinds
  readonly body: any;
}

const bearer = async (): Promise<string> =>
  (await cloud.credential.getToken('https://management.azure.com/.default')).token;

/** Sends a management request on its own connection. One of the running processes gets it. */
const send = async (method: string, path: string, body?: unknown): Promise<Reply> => {
  const { url, subscription } = cloud.access;
  const target = path.startsWith('https:')
    ? path
    : `${url}/subscriptions/${subscription}/resourceGroups/${path}?api-version=2024-11-01`;
  const reply = await fetch(target, {
    method,
    headers: { authorization: `Bearer ${await bearer()}`, 'content-type': 'application/json', connection: 'close' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, body: text === '' ? undefined : JSON.parse(text) };
};

/** Polls an operation until its end. @param url of its status, or of its result */
const ended = async (url: string): Promise<Reply> => {
  for (;;) {
    const reply = await send('GET', url);
    const isRunning = reply.status === 202 || ['InProgress', 'Running'].includes(reply.body?.status);
    if (!isRunning) return reply;
    await sleep(200);
  }
};

const done = async (method: string, path: string, body?: unknown): Promise<Reply> => {
  const first = await send(method, path, body);
  assert.ok(first.status < 300, JSON.stringify(first.body));
  const url = first.headers.get('azure-asyncoperation') ?? first.headers.get('location');
  if (url === null) return first;
  const last = await ended(url);
  assert.ok(last.status < 300 && last.body?.error === undefined, JSON.stringify(last.body));
  return last;
};

const emptyDisk = { location, properties: { creationData: { createOption: 'Empty' }, diskSizeGB: 1 } };
const disksOf = async (group: string): Promise<number> => (await send('GET', `${group}/${disks}`)).body.value.length;

test('a second replica finishes the operations of a killed one, and accepts its tokens', async () => {
  const { gateways, test: cloudOfTest } = cloud;
  const [first, second] = gateways;
  assert.ok(first && second && first.pid !== second.pid);
  await second.kill();
  for (const group of ['g1', 'g2', 'g3']) assert.equal((await send('PUT', group, { location })).status, 201);
  await done('PUT', `g1/${disks}/d1`, emptyDisk);
  const storageProfile = { osDisk: { createOption: 'Empty', name: 'os', diskSizeGB: 1 } };
  await done('PUT', `g2/${machines}/vm`, { location, properties: { storageProfile } });
  await done('POST', `g2/${machines}/vm/deallocate`);
  const { token } = await cloud.credential.getToken('https://management.azure.com/.default');

  // Without the disk service each of these operations waits half way.
  cloudOfTest.cloud.pause('disk');
  const network = { type: 'Microsoft.Network/virtualNetworks', apiVersion: '2023-11-01', name: 'v', location };
  const disk = {
    type: 'Microsoft.Compute/disks',
    apiVersion: '2023-04-02',
    name: 'd2',
    dependsOn: ['v'],
    ...emptyDisk,
  };
  const template = { resources: [{ ...network, properties: {} }, disk] };
  const [deletion, start, deployment] = await Promise.all([
    send('DELETE', 'g1'),
    send('POST', `g2/${machines}/vm/start`),
    send('PUT', 'g3/providers/Microsoft.Resources/deployments/d', { properties: { template } }),
  ]);
  assert.deepEqual([deletion.status, start.status, deployment.status], [202, 202, 201]);
  await second.restart();
  await first.kill();
  cloudOfTest.cloud.resume('disk');

  const [group, power, deployed] = await Promise.all([
    ended(deletion.headers.get('location') ?? ''),
    ended(start.headers.get('azure-asyncoperation') ?? ''),
    ended(deployment.headers.get('azure-asyncoperation') ?? ''),
  ]);
  assert.equal(group.status, 200);
  assert.equal((await send('HEAD', 'g1')).status, 404);
  assert.deepEqual([power.status, power.body.status], [200, 'Succeeded']);
  const { body: view } = await send('GET', `g2/${machines}/vm/instanceView`);
  assert.ok(view.statuses.some(({ code }: { readonly code: string }) => code === 'PowerState/running'));
  assert.equal(deployed.body.status, 'Succeeded', JSON.stringify(deployed.body));
  assert.equal(await disksOf('g3'), 1);
  const read = await fetch(`${cloud.access.url}/tenants?api-version=2022-12-01`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(read.status, 200, 'both replicas sign and verify with one key');
});

test('with two replicas on one port, requests on new connections succeed and every operation can be read', async () => {
  await cloud.gateways[0]?.restart();
  const urls: string[] = [];
  for (let n = 0; n < 8; n++) {
    const { status, headers } = await send('PUT', `g3/${disks}/many-${n}`, emptyDisk);
    assert.ok(status < 300);
    const url = headers.get('azure-asyncoperation');
    if (url !== null) urls.push(url);
  }
  assert.ok(urls.length > 0);
  for (const url of urls) assert.equal((await ended(url)).body.status, 'Succeeded');
});
