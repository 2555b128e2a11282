import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openHistory } from '@interlock/lab/judge/journal/history';
import { type DataFolder, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { outsideHome, removeServer } from '@interlock/local/unprivileged.ts';
import { type Clients, type Outside, openOutside, patient } from '../cloud/clients.ts';
import { archiving, baseBackup, clockOf, putBack, recoveringTo } from '../cloud/database-archive.ts';
import { withoutTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';

/**
 * The disaster drill of docs/how-to/deploy-on-kubernetes.md on real processes. A base backup of the running server and its
 * archived log restore the stores of all services to one earlier moment. Everything else (headers and data of disks,
 * seal keys, the facts in NATS) keeps its later state.
 */

const settings = { LEASE_TTL_MS: '3000', AUTHZ_TTL_MS: '1000', IO_PAUSE_TIMEOUT_MS: '1500', SWEEP_INTERVAL_MS: '1000' };

let folder: string;
let data: DataFolder;
let cloud: LocalCloud;
let outside: Outside;
let clients: Clients;

const start = async (
  postgresSettings: Readonly<Record<string, string>>,
  further: Readonly<Record<string, string>> = {},
): Promise<void> => {
  // Given servers belong to others too, so their data must not be restored.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  cloud = await startLocalCloud({
    data,
    env,
    postgresSettings,
    settings: { ...withoutTelemetry, ...settings, ...further },
  });
  outside = openOutside(cloud, patient);
  clients = outside.administrator;
};
const stop = async (): Promise<void> => {
  outside?.close();
  await cloud?.stop();
};
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'interlock-restore-'));
  data = openDataFolder(folder);
  await start(archiving);
});
after(async () => {
  await stop();
  removeServer(data);
  rmSync(folder, { recursive: true, force: true });
});

const databaseFolder = (): string => {
  const [home] = [data.path('postgres'), outsideHome(data)].map((one) => join(one, 'data')).filter(existsSync);
  return home ?? assert.fail('the database has a folder');
};

const powerOf = async (name: string) => (await clients.compute.getVirtualMachine({ name })).powerState;
const newKey = async (world: World, keyId: string) =>
  clients.keyVault.createKey({ parent: world.vault, keyId, keySizeBits: 2048, requestId: randomUUID() });
const assign = async (world: World, keyUrl: string): Promise<void> => {
  await clients.sets.assignKey({ name: world.set, keyUrl });
  await until('every disk is under the new key', async () => {
    const { previousKeys } = await clients.sets.getDiskEncryptionSet({ name: world.set });
    return previousKeys.length === 0;
  });
};

test('G5, G6, G7: restored stores use no revoked key before key states are confirmed, and lose no byte and no later revocation', async () => {
  const lost = await makeWorld(clients, [['PREMIUM_SSD']]);
  const moved = await makeWorld(clients, [['STANDARD_SSD'], ['PREMIUM_SSD']]);
  const [lostMachine = '', ...movedMachines] = [...lost.machines, ...moved.machines];
  const next = await newKey(moved, 'k2');
  const vault = await clients.keyVault.createVault({
    vaultId: `kv-${randomUUID().slice(0, 8)}`,
    resourceGroup: lost.group,
    location: 'westeurope',
    permissionModel: 'ROLE_ASSIGNMENT',
  });
  const purged = await clients.keyVault.createKey({
    parent: vault.name,
    keyId: 'gone',
    keySizeBits: 2048,
    requestId: randomUUID(),
  });
  const secret = { name: purged.name, algorithm: 'RSA_OAEP_256' } as const;
  const { ciphertext } = await clients.keyVault.encrypt({ ...secret, plaintext: Buffer.from('a secret') });
  const operations = openHistory(data.path('services', 'compute', 'guests'), [...lost.machines, ...moved.machines]);
  await until('guests write', async () => operations().filter(({ op, ok }) => op === 'write' && ok).length > 30);

  // Work continues. Facts and writes after the backup are in the log only.
  const copy = join(folder, 'copy');
  await baseBackup(cloud.postgres.shortUrl('postgres'), databaseFolder(), copy);
  const afterBackup = await newKey(lost, 'after-the-backup');
  const moment = await clockOf(cloud.postgres.shortUrl('postgres'));

  // Changes after the moment.
  await clients.keyVault.disableKeyVersion({ name: lost.keyVersion });
  await untilPower(clients, lostMachine, 'STOPPED');
  await assign(moved, next.keyUrl);
  const key = purged.name.split('/versions/')[0] ?? '';
  await clients.keyVault.deleteKey({ name: key });
  await clients.keyVault.purgeKey({ name: key });
  const since = Date.now();
  await until('guests write under the new key', async () =>
    operations().some(({ op, ok, invokedAt }) => op === 'write' && ok && invokedAt > since),
  );

  await stop();
  putBack(copy, databaseFolder());
  // NATS holds facts from after the moment. The new namespace keeps services from consuming them again.
  await start(recoveringTo(moment), { NATS_NAMESPACE: 'restored1' });

  const { hold } = await clients.keyVault.getHold({});
  assert.equal(hold?.reason, 'STORE_WENT_BACK');
  const { enabled } = await clients.keyVault.getKeyVersion({ name: lost.keyVersion });
  assert.equal(enabled, true, 'the restored store has the key enabled');
  await clients.keyVault.getKeyVersion({ name: afterBackup.name });
  await Promise.all([lostMachine, ...movedMachines].map((name) => untilPower(clients, name, 'STOPPED', 60_000)));
  await clients.compute.startVirtualMachine({ name: lostMachine });
  await until('no caller may use a key', async () => {
    const { auditEntries } = await clients.keyVault.listAuditEntries({ parent: lost.vault, pageSize: 1_000 });
    return auditEntries.some(({ reason }) => reason === 'KEY_VAULT_ON_HOLD');
  });
  assert.notEqual(await powerOf(lostMachine), 'RUNNING');

  await clients.keyVault.disableKeyVersion({ name: lost.keyVersion });
  await clients.keyVault.confirmKeyStates({ holdId: hold?.holdId ?? '' });
  await until('the set has lost its key again', async () => {
    const { keyAccess } = await clients.sets.getDiskEncryptionSet({ name: lost.set });
    return keyAccess.some(({ reason }) => reason === 'KEY_DISABLED');
  });
  await untilPower(clients, lostMachine, 'STOPPED', 90_000);

  // The headers complete the finished move again, and nothing depends on the old key.
  await startAgain(clients, moved.set, movedMachines);
  await assign(moved, next.keyUrl);
  await clients.keyVault.disableKeyVersion({ name: moved.keyVersion });
  const restartedAt = Date.now();
  await until('guests verify what they wrote before and after the moment', async () =>
    movedMachines.every((name) =>
      operations().some(
        ({ machine, op, invokedAt }) => machine === name && op === 'verify' && invokedAt > restartedAt - 60_000,
      ),
    ),
  );
  assert.deepEqual(
    operations().filter(({ reason }) => reason === 'CONTENT_MISMATCH'),
    [],
  );
  for (const name of movedMachines) assert.equal(await powerOf(name), 'RUNNING');

  await assert.rejects(clients.keyVault.decrypt({ ...secret, ciphertext }), { reason: 'KEY_PURGED' });

  // Services receive facts again: this revocation reaches the machines.
  await clients.keyVault.disableKeyVersion({ name: next.name });
  for (const name of movedMachines) {
    const stopped = await untilPower(clients, name, 'STOPPED');
    assert.equal(stopped.stopReason?.reason, 'KEY_DISABLED');
  }
  await clients.keyVault.enableKeyVersion({ name: next.name });
  await startAgain(clients, moved.set, movedMachines);
});
