import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';

/**
 * The requests of Terraform's azurerm provider in its order, taken from its source. The provider itself cannot be installed here.
 * Each resource is read (404), put, polled, read; planned again; updated; destroyed.
 */

type Body = Readonly<Record<string, unknown>>;

/** A resource as in the response. */
interface Shown {
  readonly id: string;
  readonly tags?: Body;
  readonly identity?: { readonly principalId: string };
  readonly properties: Body & { readonly provisioningState?: string };
}

let cloud: AzurePlace;
let subscriptionPath: string;
let groupPath: string;
const tokens = new Map<string, string>();

before(async () => {
  cloud = await azurePlace();
  subscriptionPath = `/subscriptions/${cloud.subscription}`;
  groupPath = `${subscriptionPath}/resourceGroups/tf`;
});
after(() => cloud?.close());

/** A token for a scope, requested as the provider requests it. */
const tokenFor = async (resource: string): Promise<string> => {
  const known = tokens.get(resource);
  if (known !== undefined) return known;
  const { id, secret } = cloud.place.credentials;
  const form = {
    client_id: id,
    client_secret: secret,
    grant_type: 'client_credentials',
    scope: `${resource}/.default`,
  };
  const reply = await fetch(`${cloud.url}/${cloud.tenant}/oauth2/v2.0/token`, {
    method: 'POST',
    body: new URLSearchParams(form),
  });
  const { access_token: token } = (await reply.json()) as { readonly access_token: string };
  tokens.set(resource, token);
  return token;
};

const vaultUrl = (path: string): string => `${cloud.vaultUrl('kv-tf')}${path}`;

/** Sends one request. @param path of management, or the whole URL of a vault */
const send = async (method: string, path: string, version: string, body?: unknown) => {
  const isVault = path.startsWith('https://');
  const audience = isVault ? `https://${cloud.names.vaultSuffix}` : cloud.url;
  const url = isVault || path.startsWith(cloud.url) ? path : `${cloud.url}${path}`;
  const reply = await fetch(
    url.includes('api-version') ? url : `${url}${url.includes('?') ? '&' : '?'}api-version=${version}`,
    {
      method,
      headers: {
        accept: 'application/json; charset=utf-8; IEEE754Compatible=false',
        authorization: `Bearer ${await tokenFor(audience)}`,
        'content-type': 'application/json; charset=utf-8',
        'odata-maxversion': '4.0',
        'x-ms-correlation-request-id': randomUUID(),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    },
  );
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, body: (text === '' ? {} : JSON.parse(text)) as Shown };
};

/** Follows a long-running operation to its end, as the provider does. */
const sendAndPoll = async (method: string, path: string, version: string, body?: unknown): Promise<Shown> => {
  const first = await send(method, path, version, body);
  assert.ok(
    [200, 201, 202, 204].includes(first.status),
    `${method} ${path}: ${first.status} ${JSON.stringify(first.body)}`,
  );
  const operation = first.headers.get('azure-asyncoperation') ?? first.headers.get('location');
  for (let running = operation !== null; running; ) {
    const { pathname, search } = new URL(String(operation));
    const polled = await send('GET', `${pathname}${search}`, version);
    const { status = 'Succeeded', error } = polled.body as unknown as {
      readonly status?: string;
      readonly error?: unknown;
    };
    assert.ok(!['Failed', 'Canceled'].includes(status), `${method} ${path}: ${JSON.stringify(error)}`);
    running = polled.status === 202 || status === 'InProgress';
  }
  return first.body;
};

/** A resource that Terraform manages: path, api-version, and the body that creates it. */
interface Managed {
  readonly path: string;
  readonly version: string;
  readonly body: Body;
}

const create = async ({ path, version, body }: Managed): Promise<Shown> => {
  assert.equal((await send('GET', path, version)).status, 404, `${path} exists before it is created`);
  await sendAndPoll('PUT', path, version, body);
  return refreshed({ path, version });
};

/** Reads a resource as a plan does. */
const refreshed = async ({ path, version }: Omit<Managed, 'body'>): Promise<Shown> => {
  const { status, body } = await send('GET', path, version);
  assert.equal(status, 200, path);
  assert.ok(['Succeeded', undefined].includes(body.properties.provisioningState), path);
  return body;
};

const destroy = async ({ path, version }: Omit<Managed, 'body'>): Promise<void> => {
  await sendAndPoll('DELETE', path, version);
  assert.equal((await send('GET', path, version)).status, 404, `${path} exists after it was deleted`);
};

/** Asserts that a resource has the values of its configuration. If it had not, each plan would change it again. */
const assertHas = (shown: unknown, wanted: unknown, at = ''): void => {
  if (typeof wanted !== 'object' || wanted === null) assert.deepEqual(shown, wanted, at);
  else for (const [name, value] of Object.entries(wanted)) assertHas((shown as Body)[name], value, `${at}.${name}`);
};

const location = 'westeurope';
const group = (): Managed => ({ path: groupPath, version: '2023-07-01', body: { location, tags: {} } });
const vault = (): Managed => ({
  path: `${groupPath}/providers/Microsoft.KeyVault/vaults/kv-tf`,
  version: '2023-02-01',
  body: {
    location,
    tags: { env: 'test' },
    properties: {
      tenantId: cloud.tenant,
      sku: { family: 'A', name: 'standard' },
      accessPolicies: [
        {
          tenantId: cloud.tenant,
          objectId: cloud.place.credentials.id,
          permissions: { keys: ['all'], secrets: ['get'], certificates: ['list'], storage: [] },
        },
      ],
      enabledForDeployment: true,
      enabledForDiskEncryption: true,
      enabledForTemplateDeployment: false,
      enableRbacAuthorization: true,
      enablePurgeProtection: true,
      enableSoftDelete: true,
      publicNetworkAccess: 'Enabled',
    },
  },
});
const inCompute = (name: string): string => `${groupPath}/providers/Microsoft.Compute/${name}`;
const inNetwork = (name: string): string => `${groupPath}/providers/Microsoft.Network/${name}`;
let keyUrl = '';
let set: Shown;
let machine: Shown;

test('the provider finds the endpoints, its own principal, and the registered resource providers', async () => {
  const metadata = (await (await fetch(`${cloud.url}/metadata/endpoints?api-version=2022-09-01`)).json()) as {
    readonly name: string;
    readonly resourceManager: string;
    readonly authentication: { readonly loginEndpoint: string };
    readonly microsoftGraphResourceId: string;
    readonly suffixes: { readonly keyVaultDns: string };
  };
  assert.equal(metadata.resourceManager, cloud.url);
  assert.match(metadata.suffixes.keyVaultDns, /^vault\./);
  const graph = await tokenFor(metadata.microsoftGraphResourceId.replace(/\/$/, ''));
  const found = await fetch(
    `${metadata.microsoftGraphResourceId}v1.0/servicePrincipals?$filter=${encodeURIComponent(`appId eq '${cloud.place.credentials.id}'`)}`,
    { headers: { authorization: `Bearer ${graph}` } },
  );
  const { value } = (await found.json()) as { readonly value: readonly { readonly id: string }[] };
  assert.deepEqual(
    value.map(({ id }) => id),
    [cloud.place.credentials.id],
  );
  const providers = (await send('GET', `${subscriptionPath}/providers`, '2022-09-01')).body as unknown as {
    readonly value: readonly { readonly namespace: string; readonly registrationState: string }[];
  };
  for (const namespace of ['Microsoft.Compute', 'Microsoft.KeyVault', 'Microsoft.Network', 'Microsoft.Authorization'])
    assert.equal(
      providers.value.find((one) => one.namespace === namespace)?.registrationState,
      'Registered',
      namespace,
    );
});

test('azurerm_resource_group and azurerm_key_vault: a plan after the creation changes nothing', async () => {
  await create(group());
  const deleted = `${subscriptionPath}/providers/Microsoft.KeyVault/locations/${location}/deletedVaults/kv-tf`;
  assert.equal((await send('GET', deleted, '2023-02-01')).status, 404);
  await create(vault());
  // The provider waits until the vault's host responds with any status, and reads the contacts: an error would fail the plan.
  assert.ok((await fetch(vaultUrl('/'))).status < 500);
  assert.equal((await send('GET', vaultUrl('/certificates/contacts'), '7.4')).status, 404);
  assertHas(await refreshed(vault()), vault().body);
});

test('KV-115: azurerm_key_vault_key: create, read, find its vault, set a rotation policy, update', async () => {
  assert.equal((await send('GET', vaultUrl('/keys/disk/'), '7.4')).status, 404);
  const key = {
    kty: 'RSA',
    key_size: 2048,
    key_ops: ['decrypt', 'encrypt', 'wrapKey', 'unwrapKey'],
    attributes: { enabled: true },
  };
  assert.equal((await send('POST', vaultUrl('/keys/disk/create'), '7.4', key)).status, 200);
  const policy = {
    lifetimeActions: [
      { trigger: { timeBeforeExpiry: 'P29D' }, action: { type: 'Notify' } },
      { trigger: { timeBeforeExpiry: 'P30D' }, action: { type: 'Rotate' } },
    ],
    attributes: { expiryTime: 'P90D' },
  };
  assert.equal((await send('PUT', vaultUrl('/keys/disk/rotationpolicy'), '7.4', policy)).status, 200);
  const { headers } = await send('GET', vaultUrl('/keys/disk/'), '7.4');
  assert.match(
    headers.get('x-ms-keyvault-network-info') ?? '',
    /^conn_type=Ipv\d;addr=[\w.:]+;act_addr_fam=InterNetwork/,
  );
  const read = (await send('GET', vaultUrl('/keys/disk/'), '7.4')).body as unknown as {
    readonly key: Body & { readonly kid: string };
  };
  keyUrl = read.key.kid;
  assert.deepEqual(new Set(read.key.key_ops as string[]), new Set(key.key_ops));
  const filter = encodeURIComponent("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'kv-tf'");
  const found = (await send('GET', `${subscriptionPath}/resources?$filter=${filter}&$top=5`, '2020-06-01'))
    .body as unknown as {
    readonly value: readonly { readonly id: string }[];
  };
  assert.deepEqual(
    found.value.map(({ id }) => id.toLowerCase()),
    [vault().path.toLowerCase()],
  );
  const { lifetimeActions, attributes } = (await send('GET', vaultUrl('/keys/disk/rotationpolicy'), '7.4'))
    .body as unknown as typeof policy;
  assert.deepEqual([lifetimeActions.length, attributes.expiryTime], [2, 'P90D']);
  const update = { key_ops: key.key_ops, attributes: { enabled: true }, tags: { env: 'test' } };
  assert.equal((await send('PATCH', vaultUrl('/keys/disk/'), '7.4', update)).status, 200);
});

test('azurerm_disk_encryption_set, azurerm_role_assignment and azurerm_managed_disk: create, read, update', async () => {
  const body = {
    location,
    identity: { type: 'SystemAssigned', userAssignedIdentities: null },
    tags: {},
    properties: {
      activeKey: { keyUrl, sourceVault: { id: vault().path } },
      encryptionType: 'EncryptionAtRestWithCustomerKey',
      rotationToLatestKeyVersionEnabled: false,
    },
  };
  const managed = { path: inCompute('diskEncryptionSets/des-tf'), version: '2022-03-02', body };
  set = await create(managed);
  assertHas(set.properties, { ...body.properties, activeKey: { keyUrl } });
  const roles = `${vault().path}/providers/Microsoft.Authorization/roleDefinitions`;
  const filter = encodeURIComponent("roleName eq 'Key Vault Crypto Service Encryption User'");
  const definitions = (await send('GET', `${roles}?$filter=${filter}`, '2022-05-01-preview')).body as unknown as {
    readonly value: readonly Shown[];
  };
  const roleDefinitionId = definitions.value[0]?.id;
  const properties = { roleDefinitionId, principalId: set.identity?.principalId };
  const assignment = `${vault().path}/providers/Microsoft.Authorization/roleAssignments/${randomUUID()}`;
  assertHas((await create({ path: assignment, version: '2022-04-01', body: { properties } })).properties, properties);
  assert.equal((await send('GET', String(roleDefinitionId), '2022-05-01-preview')).status, 200);
  const disk = {
    location,
    sku: { name: 'Premium_LRS' },
    tags: {},
    properties: {
      creationData: { createOption: 'Empty', performancePlus: false },
      diskSizeGB: 1,
      encryption: { type: 'EncryptionAtRestWithCustomerKey', diskEncryptionSetId: set.id },
      networkAccessPolicy: 'AllowAll',
      publicNetworkAccess: 'Enabled',
      optimizedForFrequentAttach: false,
    },
  };
  const { path, version } = { path: inCompute('disks/data-tf'), version: '2023-04-02' };
  const shown = await create({ path, version, body: disk });
  assertHas(shown.properties, { ...disk.properties, creationData: { createOption: 'Empty' } });
  await sendAndPoll('PATCH', path, version, {
    tags: { a: 'b' },
    sku: { name: 'StandardSSD_LRS' },
    properties: { diskSizeGB: 2 },
  });
  assertHas(await refreshed({ path, version }), {
    tags: { a: 'b' },
    sku: { name: 'StandardSSD_LRS' },
    properties: { diskSizeGB: 2 },
  });
});

test('azurerm_linux_virtual_machine with its network: create, read, resize', async () => {
  const network = { location, properties: { addressSpace: { addressPrefixes: ['10.0.0.0/16'] } } };
  await create({ path: inNetwork('virtualNetworks/vnet-tf'), version: '2023-11-01', body: network });
  const subnet = inNetwork('virtualNetworks/vnet-tf/subnets/s1');
  await create({ path: subnet, version: '2023-11-01', body: { properties: { addressPrefix: '10.0.1.0/24' } } });
  const ipConfigurations = [
    { name: 'internal', properties: { primary: true, privateIPAllocationMethod: 'Dynamic', subnet: { id: subnet } } },
  ];
  const nic = inNetwork('networkInterfaces/nic-tf');
  await create({ path: nic, version: '2023-11-01', body: { location, properties: { ipConfigurations } } });
  const body = {
    location,
    tags: {},
    properties: {
      additionalCapabilities: {},
      hardwareProfile: { vmSize: 'Standard_D2s_v5' },
      networkProfile: { networkInterfaces: [{ id: nic, properties: { primary: true } }] },
      osProfile: {
        adminUsername: 'azureuser',
        computerName: 'vm-tf',
        linuxConfiguration: { disablePasswordAuthentication: true, provisionVMAgent: true, ssh: { publicKeys: [] } },
      },
      priority: 'Regular',
      storageProfile: {
        dataDisks: [],
        imageReference: { publisher: 'Canonical', offer: 'ubuntu', sku: 'server', version: 'latest' },
        osDisk: {
          name: 'os-tf',
          caching: 'ReadWrite',
          createOption: 'FromImage',
          diskSizeGB: 2,
          osType: 'Linux',
          managedDisk: { storageAccountType: 'Premium_LRS', diskEncryptionSet: { id: set.id } },
        },
      },
    },
  };
  const path = inCompute('virtualMachines/vm-tf');
  const version = '2024-03-01';
  await create({ path, version, body });
  machine = (await send('GET', `${path}?$expand=userData`, version)).body;
  const { storageProfile, additionalCapabilities, ...plain } = body.properties;
  assertHas(machine.properties, { ...plain, additionalCapabilities: { ultraSSDEnabled: false } });
  const { imageReference, osDisk } = machine.properties.storageProfile as typeof storageProfile & {
    readonly osDisk: { readonly managedDisk: { readonly id: string } };
  };
  assertHas(
    { imageReference, osDisk },
    { imageReference: storageProfile.imageReference, osDisk: storageProfile.osDisk },
  );
  assert.match(
    osDisk.managedDisk.id,
    /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Compute\/disks\/os-tf$/,
  );
  await refreshed({ path: osDisk.managedDisk.id, version: '2023-04-02' });
  await refreshed({ path: nic, version: '2023-11-01' });
  assert.equal((await send('GET', `${path}/instanceView`, version)).status, 200);
  // A change of size stops the machine, changes it, and starts it again.
  await sendAndPoll('POST', `${path}/powerOff`, version);
  await sendAndPoll('POST', `${path}/deallocate`, version);
  await sendAndPoll('PATCH', path, version, { properties: { hardwareProfile: { vmSize: 'Standard_D4s_v5' } } });
  await sendAndPoll('POST', `${path}/start`, version);
  const resized = await refreshed({ path, version });
  assertHas(resized.properties, { hardwareProfile: { vmSize: 'Standard_D4s_v5' } });
});

test("destroy: deletes everything in Terraform's order, and a second delete gets 204", async () => {
  await destroy({ path: inCompute('virtualMachines/vm-tf'), version: '2024-03-01' });
  await destroy({ path: inCompute('disks/os-tf'), version: '2023-04-02' });
  await destroy({ path: inCompute('disks/data-tf'), version: '2023-04-02' });
  for (const name of ['networkInterfaces/nic-tf', 'virtualNetworks/vnet-tf/subnets/s1', 'virtualNetworks/vnet-tf'])
    await destroy({ path: inNetwork(name), version: '2023-11-01' });
  await destroy({ path: inCompute('diskEncryptionSets/des-tf'), version: '2022-03-02' });
  assert.equal((await send('DELETE', vaultUrl('/keys/disk'), '7.4')).status, 200);
  assert.equal((await send('GET', vaultUrl('/keys/disk/'), '7.4')).status, 404);
  assert.equal((await send('GET', vaultUrl('/deletedkeys/disk'), '7.4')).status, 200);
  await destroy({ path: vault().path, version: '2023-02-01' });
  const left = (await send('GET', `${groupPath}/resources?$expand=provisioningState&$top=500`, '2020-06-01'))
    .body as unknown as {
    readonly value: readonly unknown[];
  };
  assert.deepEqual(left.value, []);
  await destroy({ path: groupPath, version: '2023-07-01' });
  assert.equal((await send('DELETE', inCompute('disks/data-tf'), '2023-04-02')).status, 204);
  assert.deepEqual(cloud.errors, []);
});
