import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ResourceManagementClient } from '@azure/arm-resources';
import { CryptographyClient, type KeyClient } from '@azure/keyvault-keys';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';
import { type ComputeWorld, computeWorld, type GrantedSet, listed, refusedAs } from './test-compute.ts';

let cloud: AzurePlace;
let world: ComputeWorld;
let keys: KeyClient;
let set: GrantedSet;
let resources: ResourceManagementClient;

before(async () => {
  cloud = await azurePlace();
  world = computeWorld(cloud);
  resources = new ResourceManagementClient(cloud.credential, cloud.subscription, { endpoint: cloud.url });
  await resources.resourceGroups.createOrUpdate(world.group, { location: world.location });
  const key = await world.vaultWithKey('kv-sdk');
  keys = key.keys;
  set = await world.grantedSet('des1', key);
});
after(() => cloud?.close());

const refused = (code: string, words = /./) => refusedAs(code, words);

test('KV-34, KV-50: KeyClient sets a rotation policy and reads it back, and rotations use its expiry', async () => {
  const before = await keys.getKeyRotationPolicy('k1');
  assert.deepEqual(before.lifetimeActions, [
    { action: 'Notify', timeAfterCreate: undefined, timeBeforeExpiry: 'P30D' },
  ]);
  const lifetimeActions = [{ action: 'Rotate', timeBeforeExpiry: 'P30D' }] as const;
  await keys.updateKeyRotationPolicy('k1', { expiresIn: 'P90D', lifetimeActions: [...lifetimeActions] });
  const { expiresIn, lifetimeActions: [rotate] = [] } = await keys.getKeyRotationPolicy('k1');
  assert.deepEqual([expiresIn, rotate?.action, rotate?.timeBeforeExpiry], ['P90D', 'Rotate', 'P30D']);
  const { properties } = await keys.rotateKey('k1');
  const days = ((properties.expiresOn?.getTime() ?? 0) - Date.now()) / 86_400_000;
  assert.ok(days > 89 && days <= 90, `${days} days`);
  const early = keys.updateKeyRotationPolicy('k1', {
    lifetimeActions: [{ action: 'Rotate', timeAfterCreate: 'P1D' }],
  });
  await assert.rejects(early, refused('BadParameter', /P7D/));
});

test('KV-14: the pollers of deletion and recovery end, and deleted keys are listed', async () => {
  await keys.createRsaKey('gone', { keySize: 2048 });
  const deletion = await keys.beginDeleteKey('gone', { intervalInMs: 20 });
  const { recoveryId, scheduledPurgeDate } = (await deletion.pollUntilDone()).properties;
  assert.match(recoveryId ?? '', /\/deletedkeys\/gone$/);
  assert.ok(scheduledPurgeDate);
  assert.deepEqual(
    (await listed(keys.listDeletedKeys())).map(({ name }) => name),
    ['gone'],
  );
  const recovery = await keys.beginRecoverDeletedKey('gone', { intervalInMs: 20 });
  assert.equal((await recovery.pollUntilDone()).name, 'gone');
});

test('KV-40, KV-41: CryptographyClient uses every algorithm of an RSA key; other algorithms and key types are refused', async () => {
  const { id = '' } = await keys.getKey('gone');
  const client = new CryptographyClient(id, cloud.credential);
  for (const algorithm of ['RSA-OAEP', 'RSA-OAEP-256'] as const) {
    const plaintext = randomBytes(32);
    const { result: ciphertext } = await client.encrypt({ algorithm, plaintext });
    assert.deepEqual(Buffer.from((await client.decrypt({ algorithm, ciphertext })).result), plaintext);
    const { result: wrapped } = await client.wrapKey(algorithm, plaintext);
    assert.deepEqual(Buffer.from((await client.unwrapKey(algorithm, wrapped)).result), plaintext);
  }
  for (const [algorithm, bytes] of Object.entries({
    RS256: 32,
    RS384: 48,
    RS512: 64,
    PS256: 32,
    PS384: 48,
    PS512: 64,
  })) {
    const digest = randomBytes(bytes);
    const { result: signature } = await client.sign(algorithm, digest);
    assert.equal((await client.verify(algorithm, digest, signature)).result, true, algorithm);
    assert.equal((await client.verify(algorithm, randomBytes(bytes), signature)).result, false, algorithm);
  }
  await assert.rejects(client.sign('ES256', randomBytes(32)), refused('BadParameter', /RS256/));
  await assert.rejects(keys.createEcKey('ec'), refused('BadParameter', /RSA/));
  await assert.rejects(keys.createOctKey('oct'), refused('BadParameter', /RSA/));
  await assert.rejects(keys.getRandomBytes(8), refused('NotSupported'));
  await assert.rejects(keys.releaseKey('gone', 'x'), refused('NotSupported'));
});

test('arm-keyvault reports whether a vault name is free, and creates a key only if it does not exist', async () => {
  const { vaults } = world;
  const ask = (name: string) => vaults.vaults.checkNameAvailability({ name, type: 'Microsoft.KeyVault/vaults' });
  assert.equal((await ask('kv-new')).nameAvailable, true);
  assert.equal((await ask('KV-SDK')).reason, 'AlreadyExists');
  assert.equal((await ask('1x')).reason, 'AccountNameInvalid');
  const properties = { kty: 'RSA', keySize: 2048 } as const;
  const made = await vaults.keys.createIfNotExist(world.group, 'kv-sdk', 'managed', { properties });
  const again = await vaults.keys.createIfNotExist(world.group, 'kv-sdk', 'managed', { properties });
  assert.equal(again.keyUriWithVersion, made.keyUriWithVersion);
  assert.equal((await listed(vaults.keys.listVersions(world.group, 'kv-sdk', 'managed'))).length, 1);
  assert.ok((await listed(vaults.keys.list(world.group, 'kv-sdk'))).some(({ name }) => name === 'managed'));
});

test('arm-compute works with pollers that the caller polls, with pages and with lists', async () => {
  const { compute, group, location } = world;
  const disk = {
    location,
    creationData: { createOption: 'Empty' },
    diskSizeGB: 1,
    encryption: { diskEncryptionSetId: set.id },
  } as const;
  const poller = compute.disks.createOrUpdate(group, 'd1', disk);
  assert.equal((await poller.pollUntilDone()).name, 'd1');
  await compute.disks.createOrUpdate(group, 'd2', disk);
  const pages = [];
  for await (const page of compute.disks.listByResourceGroup(group).byPage()) pages.push(page.length);
  assert.deepEqual(pages, [2]);
  assert.deepEqual((await listed(compute.diskEncryptionSets.listAssociatedResources(group, 'des1'))).length, 2);
  const sizes = await listed(compute.virtualMachineSizes.list(location));
  assert.ok(sizes.some(({ name }) => name === 'Standard_D2s_v5'));
  assert.ok((await listed(compute.resourceSkus.list({ filter: `location eq '${location}'` }))).length > sizes.length);
  const creating = compute.virtualMachines.createOrUpdate(group, 'vm1', {
    location,
    storageProfile: {
      osDisk: { createOption: 'Attach', managedDisk: { id: world.id('Microsoft.Compute/disks', 'd1') } },
    },
  });
  while (!creating.isDone) await creating.poll();
  assert.equal((await compute.virtualMachines.get(group, 'vm1')).provisioningState, 'Succeeded');
  assert.equal((await listed(compute.virtualMachines.listByLocation(location))).length, 1);
  assert.deepEqual(await listed(compute.virtualMachines.listAvailableSizes(group, 'vm1')), sizes);
  const types = (await listed(resources.resources.list())).map(({ type }) => type);
  assert.equal(types.filter((type) => type === 'Microsoft.Compute/disks').length, 2);
  await assert.rejects(
    compute.virtualMachines.update(group, 'vm1', { identity: { type: 'SystemAssigned' } }),
    refused('NotSupported', /identity/),
  );
  await assert.rejects(compute.virtualMachines.generalize(group, 'vm1'), refused('NotSupported'));
});

test('VM-29: tags of a group and of a resource are merged, replaced and deleted at their scope', async () => {
  const { compute, group } = world;
  const disk = world.id('Microsoft.Compute/disks', 'd2');
  for (const scope of [disk, `/subscriptions/${cloud.subscription}/resourceGroups/${group}`]) {
    await resources.tagsOperations.createOrUpdateAtScope(scope, { properties: { tags: { a: '1', b: '2' } } });
    await resources.tagsOperations.updateAtScope(scope, { operation: 'Merge', properties: { tags: { b: '3' } } });
    await resources.tagsOperations.updateAtScope(scope, { operation: 'Delete', properties: { tags: { a: '1' } } });
    assert.deepEqual((await resources.tagsOperations.getAtScope(scope)).properties.tags, { b: '3' });
  }
  assert.deepEqual((await compute.disks.get(group, 'd2')).tags, { b: '3' });
  assert.deepEqual(
    (await listed(resources.tagsOperations.list())).map(({ tagName }) => tagName),
    ['b'],
  );
  await resources.tagsOperations.deleteAtScope(disk);
  assert.deepEqual((await compute.disks.get(group, 'd2')).tags, {});
});

test('a template with functions and references is previewed and deployed', async () => {
  const { group, compute } = world;
  const template = {
    $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
    contentVersion: '1.0.0.0',
    parameters: { name: { type: 'string', defaultValue: "[format('des-{0}', uniqueString(resourceGroup().id))]" } },
    variables: { vault: "[resourceId('Microsoft.KeyVault/vaults', 'kv-sdk')]" },
    resources: [
      {
        type: 'Microsoft.Compute/diskEncryptionSets',
        apiVersion: '2023-04-02',
        name: "[parameters('name')]",
        location: '[resourceGroup().location]',
        identity: { type: 'SystemAssigned' },
        properties: {
          activeKey: {
            sourceVault: { id: "[variables('vault')]" },
            keyUrl:
              "[reference(resourceId('Microsoft.KeyVault/vaults/keys', 'kv-sdk', 'k2'), '2023-07-01').keyUriWithVersion]",
          },
        },
      },
      {
        type: 'Microsoft.KeyVault/vaults/keys',
        apiVersion: '2023-07-01',
        name: 'kv-sdk/k2',
        properties: { kty: 'RSA', keySize: 2048 },
      },
      {
        type: 'Microsoft.Authorization/roleAssignments',
        apiVersion: '2022-04-01',
        name: "[guid(parameters('name'))]",
        scope: 'Microsoft.KeyVault/vaults/kv-sdk',
        properties: {
          roleDefinitionId:
            "[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'e147488a-f6f5-4113-8e2d-b22465e65bf6')]",
          principalId:
            "[reference(resourceId('Microsoft.Compute/diskEncryptionSets', parameters('name')), '2023-04-02', 'full').identity.principalId]",
        },
      },
    ],
    outputs: {
      set: { type: 'string', value: "[resourceId('Microsoft.Compute/diskEncryptionSets', parameters('name'))]" },
    },
  };
  const token = (await cloud.credential.getToken('https://management.azure.com/.default')).token;
  const path = `/subscriptions/${cloud.subscription}/resourcegroups/${group}/providers/Microsoft.Resources/deployments/d1`;
  const send = async (method: string, suffix: string) => {
    const reply = await fetch(`${cloud.url}${path}${suffix}?api-version=2024-11-01`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(method === 'GET' ? {} : { body: JSON.stringify({ properties: { mode: 'Incremental', template } }) }),
    });
    return (await reply.json()) as {
      readonly properties: {
        readonly provisioningState: string;
        readonly error?: unknown;
        readonly changes: readonly { readonly changeType: string }[];
        readonly outputs: { readonly set: { readonly value: string } };
      };
    };
  };
  const changesNow = async () => (await send('POST', '/whatIf')).properties.changes.map(({ changeType }) => changeType);
  assert.deepEqual(await changesNow(), ['Create', 'Create', 'Create']);
  let deployed = await send('PUT', '');
  while (['Running', 'Accepted'].includes(deployed.properties.provisioningState)) deployed = await send('GET', '');
  assert.equal(deployed.properties.provisioningState, 'Succeeded', JSON.stringify(deployed.properties.error));
  const name = deployed.properties.outputs.set.value.split('/').at(-1) ?? '';
  const { activeKey } = await compute.diskEncryptionSets.get(group, name);
  assert.match(activeKey?.keyUrl ?? '', /\/keys\/k2\/[0-9a-f]{32}$/);
  assert.deepEqual(new Set(await changesNow()), new Set(['NoChange']));
});
