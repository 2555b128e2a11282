import assert from 'node:assert/strict';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { until } from '../cloud/until.ts';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';
import { type ComputeWorld, computeWorld, type VaultWithKey } from './test-compute.ts';

const vault = 'kv-network';
let cloud: AzurePlace;
let world: ComputeWorld;
let key: VaultWithKey;

before(async () => {
  cloud = await azurePlace();
  world = computeWorld(cloud);
  key = await world.vaultWithKey(vault);
});
after(() => cloud?.close());

/** Reads the key as a client with this local address. */
const readFrom = async (localAddress: string) => {
  const { token } = await cloud.credential.getToken('https://vault.azure.net/.default');
  const { host, port, pathname } = new URL(`${key.keyUrl}?api-version=7.4`);
  return new Promise<{ status: number; error?: { code: string; message: string; innererror?: { code: string } } }>(
    (resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port,
          localAddress,
          servername: 'localhost',
          path: `${pathname}?api-version=7.4`,
          headers: { host, authorization: `Bearer ${token}` },
        },
        (reply) => {
          const parts: Buffer[] = [];
          reply.on('data', (part: Buffer) => parts.push(part));
          reply.on('end', () =>
            resolve({ status: reply.statusCode ?? 0, ...JSON.parse(Buffer.concat(parts).toString()) }),
          );
        },
      );
      sent.on('error', reject);
      sent.end();
    },
  );
};

const update = (properties: object) => world.vaults.vaults.update(world.group, vault, { properties });

test('KV-84: a client at an address without a rule gets 403 ForbiddenByFirewall with its address', async () => {
  const ipRules = [{ value: '127.0.0.1' }];
  const { properties } = await update({ networkAcls: { defaultAction: 'Deny', bypass: 'AzureServices', ipRules } });
  assert.deepEqual(properties.networkAcls?.ipRules, [{ value: '127.0.0.1/32' }]);
  assert.equal((await readFrom('127.0.0.1')).status, 200);
  const { status, error } = await readFrom('127.0.0.2');
  assert.deepEqual([status, error?.code, error?.innererror?.code], [403, 'Forbidden', 'ForbiddenByFirewall']);
  assert.match(error?.message ?? '', /Client address \(127\.0\.0\.2\) is not authorized/);
});

test("CMK-29: a set uses its key through the vault's firewall, until bypass is None", async () => {
  const { compute, group, location } = world;
  const { id } = await world.grantedSet('des-network', key);
  const disk = (name: string) =>
    compute.disks.createOrUpdate(group, name, {
      location,
      creationData: { createOption: 'Empty' },
      diskSizeGB: 1,
      encryption: { diskEncryptionSetId: id },
    });
  await disk('behind-firewall');
  await update({ networkAcls: { bypass: 'None' } });
  await assert.rejects(disk('without-bypass'), { code: 'KeyVaultAccessForbidden' });
  await update({ networkAcls: { bypass: 'AzureServices' } });
  await until('a disk can be made', () => disk('with-bypass'));
});

test('KV-85: with public network access disabled, a client gets 403 ForbiddenByConnection', async () => {
  const { properties } = await update({ publicNetworkAccess: 'Disabled' });
  assert.equal(properties.publicNetworkAccess, 'Disabled');
  const { status, error } = await readFrom('127.0.0.1');
  assert.deepEqual([status, error?.innererror?.code], [403, 'ForbiddenByConnection']);
  await update({ publicNetworkAccess: 'Enabled', networkAcls: { defaultAction: 'Allow' } });
  assert.equal((await readFrom('127.0.0.2')).status, 200);
  await assert.rejects(update({ networkAcls: { defaultAction: 'Perhaps' } }), { statusCode: 400 });
});
