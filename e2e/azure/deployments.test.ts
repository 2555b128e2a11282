import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ResourceManagementClient } from '@azure/arm-resources';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';

let cloud: AzurePlace;
before(async () => {
  cloud = await azurePlace();
});
after(() => cloud?.close());

const version = '2024-11-01';
const group = 'g1';

/** Sends a management request as the administrator. */
const send = async (method: string, path: string, body?: unknown) => {
  const { url, subscription } = cloud;
  const { token } = await cloud.credential.getToken('https://management.azure.com/.default');
  const separator = path.includes('?') ? '&' : '?';
  const target = path.startsWith('https:')
    ? path
    : `${url}/subscriptions/${subscription}${path}${separator}api-version=${version}`;
  const reply = await fetch(target, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, body: text === '' ? undefined : JSON.parse(text) };
};

/** The status of an operation at its end. */
const operationEnd = async (url: string) => {
  for (;;) {
    const { body } = await send('GET', url);
    if (body.status !== 'Running') return body;
  }
};

/** A deployment at its end. The gateway responds with it at once if it is fast. */
const deployed = async ({ status, headers, body }: Awaited<ReturnType<typeof send>>) => {
  if (status === 200) return body;
  await operationEnd(headers.get('azure-asyncoperation') ?? '');
  return (await send('GET', body.id.replace(/^\/subscriptions\/[^/]+/, ''))).body;
};

const inGroup = `/resourceGroups/${group}`;
const deployments = `${inGroup}/providers/Microsoft.Resources/deployments`;

const network = { type: 'Microsoft.Network/virtualNetworks', apiVersion: '2023-11-01', location: 'westeurope' };
const vault = {
  type: 'Microsoft.KeyVault/vaults',
  apiVersion: '2023-02-01',
  location: '[resourceGroup().location]',
  properties: {
    tenantId: '[subscription().tenantId]',
    sku: { name: 'standard', family: 'A' },
    enableRbacAuthorization: true,
  },
};

test('deploys a template in the order of its dependencies, with parameters, variables and outputs', async () => {
  const { subscription, url: endpoint } = cloud;
  const client = new ResourceManagementClient(cloud.credential, subscription, { endpoint });
  await client.resourceGroups.createOrUpdate(group, { location: 'westeurope' });
  const template = {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    parameters: { prefix: { type: 'string' } },
    variables: { vault: "[concat(parameters('prefix'), '-vault')]" },
    resources: [
      {
        ...network,
        name: 'v1',
        dependsOn: ["[resourceId('Microsoft.KeyVault/vaults', variables('vault'))]"],
        properties: {},
      },
      { ...vault, name: "[variables('vault')]" },
    ],
    outputs: { name: { type: 'string', value: "[variables('vault')]" } },
  };
  const properties = { mode: 'Incremental', template, parameters: { prefix: { value: 'kv' } } };
  const body = await deployed(await send('PUT', `${deployments}/d1`, { properties }));
  assert.equal(body.properties.provisioningState, 'Succeeded');
  assert.deepEqual(body.properties.outputs, { name: { type: 'string', value: 'kv-vault' } });
  const made = body.properties.outputResources.map(({ id }: { id: string }) => id.split('/').at(-1));
  assert.deepEqual(made, ['kv-vault', 'v1']);
  assert.equal((await send('GET', `${inGroup}/providers/Microsoft.KeyVault/vaults/kv-vault`)).status, 200);
  const { body: operations } = await send('GET', `${inGroup}/deployments/d1/operations`);
  assert.equal(operations.value.length, 2);
});

test('a failed deployment names the resource and its error, and keeps the resources it created', async () => {
  const resources = [
    { ...network, name: 'v2', properties: {} },
    { ...network, type: 'Microsoft.Nothing/things', name: 'x', dependsOn: ['v2'] },
  ];
  const { status, headers, body } = await send('PUT', `${deployments}/d2`, { properties: { template: { resources } } });
  assert.deepEqual([status, body.properties.provisioningState], [201, 'Running']);
  assert.equal(headers.get('retry-after'), '1');
  const ended = await operationEnd(headers.get('azure-asyncoperation') ?? '');
  assert.equal(ended.status, 'Failed');
  const [detail] = ended.error.details;
  assert.deepEqual(
    [ended.error.code, detail.code, detail.target.split('/').at(-1)],
    ['DeploymentFailed', 'InvalidResourceType', 'x'],
  );
  assert.equal((await send('GET', `${inGroup}/providers/${network.type}/v2`)).status, 200);
});

test('an invalid or unsupported template changes nothing', async () => {
  const first = { ...network, name: 'v3', properties: {} };
  const invalid = [
    { template: { resources: [first, { ...network, name: "[reference('x')]" }] } },
    { template: { resources: [first], parameters: { p: { type: 'string' } } }, parameters: { q: { value: 1 } } },
    { template: { resources: [first, { ...network, name: 'v4', copy: { name: 'c', count: 2 } }] } },
    { template: { resources: [first] }, mode: 'Complete' },
    { templateLink: { uri: 'https://example.com' } },
  ];
  for (const properties of invalid) {
    const { status, body } = await send('PUT', `${deployments}/d3`, { properties });
    assert.deepEqual(
      [status, body.error.code.replace('NotSupported', 'InvalidTemplate')],
      [400, 'InvalidTemplate'],
      JSON.stringify(properties),
    );
  }
  assert.equal((await send('GET', `${inGroup}/providers/${network.type}/v3`)).status, 404);
  const { status } = await send('PUT', '/resourceGroups/missing/providers/Microsoft.Resources/deployments/d', {
    properties: { template: { resources: [] } },
  });
  assert.equal(status, 404);
});

test('deletes a group with its content, and a group of that name can be created again', async () => {
  const { status, headers } = await send('DELETE', inGroup);
  assert.deepEqual([status, headers.get('retry-after')], [202, '1']);
  let polled = await send('GET', headers.get('location') ?? '');
  while (polled.status === 202) polled = await send('GET', headers.get('location') ?? '');
  assert.equal(polled.status, 200);
  assert.equal((await send('HEAD', inGroup)).status, 404);
  assert.equal((await send('PUT', inGroup, { location: 'northeurope' })).status, 201);
  assert.deepEqual((await send('GET', `${inGroup}/providers/${network.type}`)).body, { value: [] });
  assert.deepEqual((await send('GET', `${inGroup}/providers/Microsoft.KeyVault/vaults`)).body, { value: [] });
});
