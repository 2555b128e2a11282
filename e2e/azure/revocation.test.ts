import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { until } from '../cloud/until.ts';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';
import { type ComputeWorld, computeWorld, type GrantedSet, refusedAs, type VaultWithKey } from './test-compute.ts';

/** A machine stops within the lease (60 s by default); the event stops it within a moment. */
const boundMs = 60_000;
const vault = 'kv-revoke';
const content = randomBytes(1024 * 1024);

let cloud: AzureCloud;
let world: ComputeWorld;
let key: VaultWithKey;
let set: GrantedSet;

/** The first megabyte of a disk, through a URL, as its owner reads it. */
const readContent = async (disk: string): Promise<Buffer> => {
  const { compute, group } = world;
  const { accessSAS = '' } = await compute.disks.grantAccess(group, disk, { access: 'Read', durationInSeconds: 60 });
  try {
    const reply = await fetch(accessSAS, { headers: { range: `bytes=0-${content.length - 1}` } });
    assert.equal(reply.status, 206, await reply.clone().text());
    return Buffer.from(await reply.arrayBuffer());
  } finally {
    await compute.disks.revokeAccess(group, disk);
  }
};

const writeContent = async (disk: string): Promise<void> => {
  const { compute, group } = world;
  const { accessSAS = '' } = await compute.disks.grantAccess(group, disk, { access: 'Write', durationInSeconds: 60 });
  const reply = await fetch(`${accessSAS}&comp=page`, {
    method: 'PUT',
    headers: {
      'content-type': 'application/octet-stream',
      'x-ms-page-write': 'update',
      'x-ms-range': `bytes=0-${content.length - 1}`,
    },
    body: content,
  });
  assert.equal(reply.status, 201, await reply.clone().text());
  await compute.disks.revokeAccess(group, disk);
};

before(async () => {
  cloud = await azureCloud();
  world = computeWorld({ ...cloud, ...cloud.access });
  key = await world.vaultWithKey(vault);
  set = await world.grantedSet('des1', key);
  const { compute, group, location } = world;
  const encryption = { diskEncryptionSetId: set.id };
  const creationData = { createOption: 'Empty' } as const;
  await compute.disks.createOrUpdate(group, 'data', { location, creationData, diskSizeGB: 1, encryption });
  await writeContent('data');
  await compute.virtualMachines.createOrUpdate(group, 'vm', {
    location,
    storageProfile: {
      osDisk: { createOption: 'Empty', name: 'os', diskSizeGB: 1 },
      dataDisks: [{ lun: 0, createOption: 'Attach', managedDisk: { id: world.id('Microsoft.Compute/disks', 'data') } }],
    },
  });
});
after(() => cloud?.stop());

test('CMK-110: a URL reads a disk as fixed VHD: its length, its footer, ranges; a wrong signature is refused', async () => {
  const { compute, group } = world;
  await assert.rejects(compute.disks.grantAccess(group, 'data', { access: 'Read', durationInSeconds: 60 }), {
    statusCode: 409,
  });
  await compute.virtualMachines.deallocate(group, 'vm');
  assert.ok(content.equals(await readContent('data')));
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

/** One way to take the key away and to give it back, and the code of a start in between. */
interface Way {
  readonly name: string;
  readonly code: string;
  lose(): Promise<unknown>;
  giveBack(): Promise<unknown>;
}

const grantSet = async (): Promise<void> => {
  const { compute, group } = world;
  const { identity } = await compute.diskEncryptionSets.get(group, 'des1');
  const principalId = identity?.principalId ?? '';
  set = { ...set, principalId, assignment: await world.grant(key.vaultId, principalId) };
};

const ways: readonly Way[] = [
  {
    name: 'key disabled',
    code: 'KeyVaultKeyNotEnabled',
    lose: () => key.keys.updateKeyProperties(key.key, { enabled: false }),
    giveBack: () => key.keys.updateKeyProperties(key.key, { enabled: true }),
  },
  {
    name: 'key expired',
    code: 'KeyVaultAccessForbidden',
    lose: () => key.keys.updateKeyProperties(key.key, { expiresOn: new Date('2020-01-01T00:00:00Z') }),
    giveBack: () => key.keys.updateKeyProperties(key.key, { expiresOn: new Date('2035-01-01T00:00:00Z') }),
  },
  {
    name: 'key deleted',
    code: 'KeyVaultKeyNotFound',
    lose: async () => (await key.keys.beginDeleteKey(key.key, { intervalInMs: 50 })).pollUntilDone(),
    giveBack: async () => (await key.keys.beginRecoverDeletedKey(key.key, { intervalInMs: 50 })).pollUntilDone(),
  },
  {
    name: 'role removed',
    code: 'KeyVaultAccessForbidden',
    lose: () => world.authorization.roleAssignments.delete(key.vaultId, set.assignment),
    giveBack: grantSet,
  },
  {
    name: 'vault changed to access policies',
    code: 'KeyVaultAccessForbidden',
    lose: () => world.vaults.vaults.update(world.group, vault, { properties: { enableRbacAuthorization: false } }),
    giveBack: () => world.vaults.vaults.update(world.group, vault, { properties: { enableRbacAuthorization: true } }),
  },
  {
    name: 'identity removed from the set',
    code: 'KeyVaultAccessTokenCannotBeAcquired',
    lose: () => world.compute.diskEncryptionSets.update(world.group, 'des1', { identity: { type: 'None' } }),
    giveBack: async () => {
      await world.compute.diskEncryptionSets.update(world.group, 'des1', { identity: { type: 'SystemAssigned' } });
      await grantSet();
    },
  },
  {
    name: 'vault deleted',
    code: 'KeyVaultNotFound',
    lose: () => world.vaults.vaults.delete(world.group, vault),
    giveBack: async () => {
      const { location, group } = world;
      const sku = { family: 'A', name: 'standard' } as const;
      const properties = { createMode: 'recover', tenantId: cloud.access.tenant, sku } as const;
      await world.vaults.vaults.createOrUpdate(group, vault, { location, properties });
      await grantSet();
    },
  },
  {
    name: 'access policy removed',
    code: 'KeyVaultAccessForbidden',
    lose: async () => {
      const { tenant, clientId } = cloud.access;
      const administrator = { tenantId: tenant, objectId: clientId, permissions: { keys: ['all'] } };
      const properties = { enableRbacAuthorization: false, accessPolicies: [administrator, policyOfSet()] };
      await world.vaults.vaults.update(world.group, vault, { properties });
      assert.equal(await powerOf(), 'PowerState/running');
      await world.vaults.vaults.updateAccessPolicy(world.group, vault, 'remove', {
        properties: { accessPolicies: [policyOfSet()] },
      });
    },
    giveBack: () =>
      world.vaults.vaults.updateAccessPolicy(world.group, vault, 'add', {
        properties: { accessPolicies: [policyOfSet()] },
      }),
  },
];

/** What the identity of the set needs on a vault with access policies (CMK-25). */
const policyOfSet = () => ({
  tenantId: cloud.access.tenant,
  objectId: set.principalId,
  permissions: { keys: ['get', 'wrapKey', 'unwrapKey'] },
});

test('CMK-130: a set with disks is not deleted, so its machine keeps running', async () => {
  const { compute, group } = world;
  await assert.rejects(compute.diskEncryptionSets.delete(group, 'des1'), refusedAs('OperationNotAllowed', /des1/));
  assert.equal(await powerOf(), 'PowerState/running');
});

const view = () => world.compute.virtualMachines.instanceView(world.group, 'vm');
const powerOf = async () => (await view()).statuses?.find(({ code }) => code?.startsWith('PowerState/'))?.code;

test('G10: the trace of a revocation by REST begins in the gateway, and the ids of the client are kept', async () => {
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
  // Each process exports its spans at its own time.
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

for (const way of ways) {
  test(`CMK-100, CMK-120, CMK-127: ${way.name}: the machine stops, does not start, and has every byte afterwards`, async () => {
    const { compute, group } = world;
    assert.equal(await powerOf(), 'PowerState/running');
    await way.lose();
    await until('the machine is stopped', async () => (await powerOf()) === 'PowerState/stopped', boundMs);
    const blocked = (await view()).disks?.find(({ name }) => name === 'data')?.statuses?.[0];
    assert.deepEqual([blocked?.level, blocked?.code], ['Error', `ProvisioningState/failed/${way.code}`]);
    await assert.rejects(compute.virtualMachines.start(group, 'vm'), refusedAs(way.code));
    const failed = await compute.virtualMachines.get(group, 'vm');
    assert.equal(failed.provisioningState, 'Failed');
    await way.giveBack();
    const start = async (): Promise<boolean> => {
      await compute.virtualMachines.start(group, 'vm');
      return true;
    };
    await until('the machine starts', start);
    assert.equal(await powerOf(), 'PowerState/running');
    await compute.virtualMachines.deallocate(group, 'vm');
    assert.ok(content.equals(await readContent('data')));
    await compute.virtualMachines.start(group, 'vm');
  });
}
