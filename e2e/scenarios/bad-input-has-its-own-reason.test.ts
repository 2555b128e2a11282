import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { entryOf, serviceNames } from '@interlock/local/services.ts';
import { type Clients, tlsInto } from '../cloud/clients.ts';
import { openDataPath } from '../cloud/data-path.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { location, makeWorld, type World } from '../cloud/world.ts';
import { findVolumes } from '../rehearsal/files/volume.ts';

let cloud: TestCloud;
let world: World;
/** A principal without any grant on the vault, with all rights on sets and disks. */
let user: Clients;
before(async () => {
  cloud = await testCloud();
  world = await makeWorld(cloud.clients, [['PREMIUM_SSD']]);
  user = await newPrincipal('roles/contributor');
});
after(() => cloud.stop());

const newPrincipal = async (role: string): Promise<Clients> => {
  const { identity } = cloud.clients;
  const id = randomUUID();
  const { tenant, subscription } = cloud.cloud.administrator;
  const { name } = await identity.createPrincipal({ principalId: id, tenant, type: 'USER', displayName: 'a user' });
  const { secretText } = await identity.addSecret({ principal: name, secretId: 'only' });
  await identity.createRoleAssignment({ roleAssignmentId: randomUUID(), principal: name, role, scope: subscription });
  return cloud.outside.as({ id, secret: secretText });
};

/** The version of every resource that could have changed. */
const versions = async (): Promise<readonly string[]> => {
  const { keyVault, sets, disks, compute } = cloud.clients;
  const [{ disks: all }, vault, version, set] = await Promise.all([
    disks.listDisks({ parent: world.group, pageSize: 1_000 }),
    keyVault.getVault({ name: world.vault }),
    keyVault.getKeyVersion({ name: world.keyVersion }),
    sets.getDiskEncryptionSet({ name: world.set }),
  ]);
  const machines = await Promise.all(world.machines.map((name) => compute.getVirtualMachine({ name })));
  return [...all, vault, version, set, ...machines].map(({ name, etag }) => `${name} ${etag}`);
};

/** The versions after earlier work has ended: two reads 300 ms apart are equal. */
const settledVersions = async (): Promise<readonly string[]> => {
  for (let earlier = await versions(); ; ) {
    await sleep(300);
    const now = await versions();
    if (isDeepStrictEqual(now, earlier)) return now;
    earlier = now;
  }
};

/** Asserts that a call is refused for that reason and changes nothing. */
const refused = async (reason: string, act: () => Promise<unknown>): Promise<void> => {
  const earlier = await settledVersions();
  await assert.rejects(act, { reason });
  assert.deepEqual(await versions(), earlier, `${reason}: nothing changed`);
};

/** Starts a service with these settings, which it must refuse. @returns its output */
const startedWith = (settings: Readonly<Record<string, string>>): string => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-settings-'));
  const secret = join(folder, 'secret');
  writeFileSync(secret, 'secret', { mode: 0o600 });
  const addresses = serviceNames.map((name) => [`${name.toUpperCase().replaceAll('-', '_')}_ADDRESS`, '127.0.0.1:1']);
  const { status, stderr, stdout } = spawnSync(process.execPath, [entryOf('disk')], {
    env: {
      PATH: process.env.PATH,
      ...Object.fromEntries(addresses),
      SERVICE_ADDRESS: '127.0.0.1:0',
      DATABASE_URL: 'postgres://127.0.0.1:1/none',
      NATS_URL: 'nats://127.0.0.1:1',
      TRANSPORT: 'plaintext',
      WORKLOAD_ID: randomUUID(),
      WORKLOAD_SECRET_FILE: secret,
      DATA_FOLDER: folder,
      MASTER_KEY_FILE: join(folder, 'master-key'),
      ...settings,
    },
    encoding: 'utf8',
    timeout: 120_000,
  });
  rmSync(folder, { recursive: true, force: true });
  assert.notEqual(status, 0);
  return `${stdout}${stderr}`;
};

test('G1: a lease time below one second, or below twice AUTHZ_TTL_MS, is refused at the start', () => {
  const tooShort = startedWith({ LEASE_TTL_MS: '999', AUTHZ_TTL_MS: '100' });
  assert.match(tooShort, /LEASE_TTL_MS/);
  assert.match(tooShort, /1000/);
  const tooClose = startedWith({ LEASE_TTL_MS: '1999', AUTHZ_TTL_MS: '1000' });
  assert.match(tooClose, /LEASE_TTL_MS/);
  assert.match(tooClose, /twice AUTHZ_TTL_MS, which is 1000/);
});

test('the impact preview of a key, version or vault that does not exist is refused', async () => {
  const { sets } = cloud.clients;
  const unknown = '0'.repeat(32);
  await refused('KEY_NOT_FOUND', () =>
    sets.previewImpact({ target: { $case: 'key', value: `${world.vault}/keys/no` } }),
  );
  await refused('KEY_VERSION_NOT_FOUND', () =>
    sets.previewImpact({ target: { $case: 'keyVersion', value: `${world.vault}/keys/k1/versions/${unknown}` } }),
  );
  await refused('VAULT_NOT_FOUND', () => sets.previewImpact({ target: { $case: 'vault', value: 'vaults/no-such' } }));
});

test('CMK-20, CMK-23, CMK-25, CMK-87: a key that a set cannot use is refused with its own reason, and nothing changes', async () => {
  const { keyVault, sets } = cloud.clients;
  const assign = (keyUrl: string) => sets.assignKey({ name: world.set, keyUrl });
  const administrator = `principals/${cloud.cloud.administrator.principalId}`;
  const newVault = async (id: string, where: string) => {
    const { name } = await keyVault.createVault({
      vaultId: `${id}-${randomUUID().slice(0, 8)}`,
      resourceGroup: world.group,
      location: where,
      permissionModel: 'ACCESS_POLICY',
      accessPolicies: [{ principal: administrator, keyPermissions: ['ALL'] }],
      purgeProtectionEnabled: true,
    });
    return keyVault.createKey({ parent: name, keyId: 'k', requestId: randomUUID() });
  };
  const signing = await keyVault.createKey({
    parent: world.vault,
    keyId: 'signing',
    keyOperations: ['SIGN', 'VERIFY'],
    requestId: randomUUID(),
  });
  const [far, ungranted] = [await newVault('far', 'northeurope'), await newVault('near', location)];
  await refused('KEY_OPERATION_NOT_ALLOWED', () => assign(signing.keyUrl));
  await refused('LOCATION_MISMATCH', () => assign(far.keyUrl));
  await refused('ACCESS_DENIED', () => assign(ungranted.keyUrl));
  await refused('KEY_URL_WITHOUT_VERSION', () => assign(ungranted.keyUrl.replace(/\/[0-9a-f]{32}$/, '')));
  await refused('NOT_AN_RSA_KEY', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const value = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return keyVault.importKey({
      parent: world.vault,
      keyId: 'ec',
      keyMaterial: { $case: 'pem', value },
      requestId: randomUUID(),
    });
  });
});

test('CMK-07, CMK-10: only the identity of the set may rewrap for the set, not another user of the key', async () => {
  const { keyVault } = cloud.clients;
  const target = await keyVault.createKey({ parent: world.vault, keyId: 'k2', requestId: randomUUID() });
  const { wrappedKey } = await keyVault.wrapKey({
    name: world.keyVersion,
    plaintextKey: new Uint8Array(32),
    algorithm: 'RSA_OAEP_256',
  });
  const request = {
    sourceKeyVersion: world.keyVersion,
    targetKeyVersion: target.name,
    wrappedKey,
    algorithm: 'RSA_OAEP_256',
    diskEncryptionSet: world.set,
  } as const;
  await refused('ACCESS_DENIED', () => user.keyVault.rewrap(request));
  // The owner's authorization is for the set's identity: even the owner cannot use it.
  await keyVault.disableKeyVersion({ name: world.keyVersion });
  await keyVault.authorizeRewrap({
    sourceKeyVersion: world.keyVersion,
    targetKeyVersion: target.name,
    diskEncryptionSet: world.set,
    principal: world.identity,
  });
  await assert.rejects(keyVault.rewrap(request), { reason: 'KEY_DISABLED' });
  await keyVault.enableKeyVersion({ name: world.keyVersion });
});

test('KV-81: a token that is forged, for another service, or of a deleted principal is refused with its own reason', async () => {
  const { keyVault, identity } = cloud.clients;
  const disable = (token: string) => keyVault.disableKeyVersion({ name: world.keyVersion }, { token });
  const good = await cloud.clients.tokens.token('interlock:key-vault');
  const [header = '', claims = ''] = good.split('.');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const forged = sign('RSA-SHA256', Buffer.from(`${header}.${claims}`), privateKey).toString('base64url');
  await refused('TOKEN_SIGNATURE_INVALID', () => disable(`${header}.${claims}.${forged}`));
  await refused('TOKEN_MALFORMED', () => disable('no token at all'));
  // A token for one service, presented to another.
  const elsewhere = await cloud.clients.tokens.token('interlock:disk');
  await refused('TOKEN_WRONG_AUDIENCE', () => disable(elsewhere));
  const gone = await newPrincipal('roles/owner');
  const kept = await gone.tokens.token('interlock:key-vault');
  const { sub } = JSON.parse(Buffer.from(kept.split('.')[1] ?? '', 'base64url').toString());
  await identity.deletePrincipal({ name: `principals/${sub}` });
  await refused('PRINCIPAL_DELETED', () => disable(kept));
});

test('CMK-14: a disk with the header of another disk is refused, and is readable once its own header is back', async (t) => {
  const { disks } = cloud.clients;
  const [one, two] = await Promise.all(
    ['header-1', 'header-2'].map((diskId) =>
      disks.createDisk({
        parent: world.group,
        diskId,
        location,
        sku: 'STANDARD_SSD',
        sizeGib: 1,
        encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: world.set },
      }),
    ),
  );
  assert.ok(one && two);
  const bytes = Buffer.alloc(4_096, 7);
  const dataPath = openDataPath(tlsInto(cloud.cloud));
  t.after(dataPath.close);
  await dataPath.write(cloud.clients, two.name, 0, bytes);
  const volumes = findVolumes(join(cloud.folder, 'services/disk'));
  const headerOf = (id: string) => (volumes.get(id)?.dataFile ?? '').replace(/data$/, 'header');
  const kept = readFileSync(headerOf(two.uniqueId));
  copyFileSync(headerOf(one.uniqueId), headerOf(two.uniqueId));
  const read = () => dataPath.read(cloud.clients, two.name, 0, bytes.length);
  await refused('HEADER_FORGED', read);
  writeFileSync(headerOf(two.uniqueId), kept);
  assert.ok(bytes.equals(await read()));
});
