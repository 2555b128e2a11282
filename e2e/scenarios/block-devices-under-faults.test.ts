import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportNameOf } from '../../services/disk/src/host/nbd/negotiation.ts';
import { TestNbdClient } from '../../services/disk/src/host/nbd/test-nbd-client.ts';
import { command, commandFlag, errno, optionReply } from '../../services/disk/src/host/nbd/wire.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { location, makeWorld, type World } from '../cloud/world.ts';

const leaseTtlMs = 2_000;
const sector = 4_096;

let folder = '';
let cloud: TestCloud;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nbd-'));
  cloud = await testCloud({
    NBD_LISTEN: `unix:${join(folder, 'disk.sock')}`,
    LEASE_TTL_MS: String(leaseTtlMs),
    AUTHZ_TTL_MS: '500',
  });
});
after(async () => {
  await cloud.stop();
  rmSync(folder, { recursive: true });
});

let world: World;
let disk = '';
let accessToken = '';
beforeEach(async () => {
  const { clients } = cloud;
  world = await makeWorld(clients, []);
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: world.set } as const;
  const made = { parent: world.group, location, sku: 'PREMIUM_SSD', sizeGib: 1, diskId: 'd', encryption } as const;
  ({ name: disk } = await clients.disks.createDisk(made));
  const access = { name: disk, accessLevel: 'WRITE', durationSeconds: 600 } as const;
  ({ accessToken } = await clients.disks.beginAccess(access));
});

const connected = async (): Promise<TestNbdClient> => {
  const client = await new TestNbdClient(connect(join(folder, 'disk.sock'))).greet();
  const name = exportNameOf(disk, accessToken);
  await client.structured(name);
  assert.equal((await client.go(name)).kind, optionReply.ack);
  return client;
};

/** The content of a sector: its number and the round of the last write. */
const contentOf = (n: number, round: number): Buffer => Buffer.alloc(sector, `${n} ${round} ${disk} `);

test('G1: a disk host that is paused while a key is lost serves no request after it resumes', async () => {
  const { clients, cloud: processes } = cloud;
  const client = await connected();
  for (let n = 0; n < 50; n += 1) assert.equal((await client.write(n * sector, contentOf(n, 0))).code, 0);
  processes.pause('disk');
  const lost = Date.now();
  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  // The requests wait in the socket, and reach the data thread before anything else happens in the process.
  for (let n = 0; n < 50; n += 1) client.send(command.write, n * sector, sector, { payload: contentOf(n, 1) });
  client.send(command.read, 0, sector);
  await sleep(lost + leaseTtlMs + 500 - Date.now());
  processes.resume('disk');
  for (let n = 0; n < 51; n += 1) assert.equal((await client.reply(0)).code, errno.EIO, `request ${n}`);
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  await until('the disk is served again', async () => (await client.read(0, sector)).code === 0);
  for (let n = 0; n < 50; n += 1) assert.deepEqual((await client.read(n * sector, sector)).data, contentOf(n, 0));
});

test('CMK-100: a disabled key fails the requests of a client that writes without pause', async () => {
  const { clients } = cloud;
  const client = await connected();
  let newest = -1;
  const writing = (async () => {
    for (let round = 0; ; round += 1) {
      const { code } = await client.write((round % 64) * sector, contentOf(round % 64, round));
      if (code !== 0) return { code, endedAt: Date.now() };
      newest = round;
    }
  })();
  await until('it writes', async () => newest > 100);
  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  const { code } = await writing;
  assert.equal(code, errno.EIO);
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  const first = await until('the disk is served again', async () => {
    const reply = await client.read((newest % 64) * sector, sector);
    return reply.code === 0 && reply;
  });
  assert.deepEqual(first.data, contentOf(newest % 64, newest));
});

test('CMK-113: while key-vault is paused for two lease times, requests wait and none fails', async () => {
  const { cloud: processes } = cloud;
  const client = await connected();
  processes.pause('key-vault');
  try {
    const endsAt = Date.now() + 2 * leaseTtlMs;
    const waits: number[] = [];
    const writing = (async () => {
      for (let n = 0; Date.now() < endsAt || waits.every((ms) => ms < leaseTtlMs / 4); n += 1) {
        const began = Date.now();
        assert.equal((await client.write((n % 64) * sector, contentOf(n % 64, n))).code, 0);
        waits.push(Date.now() - began);
      }
    })();
    await sleep(endsAt - Date.now());
    processes.resume('key-vault');
    await writing;
  } finally {
    processes.resume('key-vault');
  }
});

test('CMK-89: after kill -9 of the disk host, every write that was acknowledged with FUA can be read', async () => {
  const { cloud: processes } = cloud;
  const client = await connected();
  const written = new Map<number, Buffer>();
  const writing = (async () => {
    for (let round = 0; ; round += 1) {
      const content = randomBytes(sector);
      // Without an acknowledgement the content of the sector is unknown.
      written.delete(round % 256);
      const { code } = await client.write((round % 256) * sector, content, commandFlag.fua);
      assert.equal(code, 0);
      written.set(round % 256, content);
    }
  })().catch((error: unknown) => error);
  await until('it writes', async () => written.size > 20);
  await processes.kill('disk');
  assert.match(String(await writing), /the connection ended/);
  await processes.restart('disk');
  const again = await until('the disk is served again', () => connected().catch(() => undefined));
  for (const [n, content] of written) {
    assert.deepEqual((await again.read(n * sector, sector)).data, content, `sector ${n}`);
  }
});
