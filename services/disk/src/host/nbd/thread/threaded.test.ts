import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { refusal } from '../../keys/test-vault.ts';
import { pieceSize } from '../../storage/sector.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../../test-disk-host.ts';
import { exportNameOf } from '../negotiation.ts';
import { TestNbdClient } from '../test-nbd-client.ts';
import { command, commandFlag, errno, optionReply } from '../wire.ts';

const limit = { timeout: 60_000 };
const parent = 'subscriptions/s/resourceGroups/g';
const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;

/** A host with a folder, and a disk of 1 GiB under a customer key with direct access to it. */
const start = async (t: TestContext) => {
  const folder = mkdtempSync(join(tmpdir(), 'nbd-thread-'));
  const host = await startDiskHost({ folder });
  t.after(async () => {
    await host.stop();
    rmSync(folder, { recursive: true });
  });
  await host.disks.createDisk({ parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, diskId: 'd', encryption });
  const { accessToken } = await host.disks.beginAccess({ name: diskName, accessLevel: 'WRITE', durationSeconds: 60 });
  const connected = async (): Promise<TestNbdClient> => {
    const client = await new TestNbdClient(connect(join(folder, 'nbd.sock'))).greet();
    const name = exportNameOf(diskName, accessToken);
    await client.structured(name);
    assert.equal((await client.go(name)).kind, optionReply.ack);
    return client;
  };
  return { host, connected };
};

const loseKey = async (host: DiskHost): Promise<void> => {
  host.setVault(refusal('KEY_DISABLED', 5));
  const { keyVersion } = host.keyOf(setName);
  const reason = 'KEY_DISABLED' as const;
  const loss = { set: setName, keyVersion, reason, accessEpoch: 5, since: new Date(), partial: false };
  await host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: loss });
};

test(
  'CMK-08: the data thread and gRPC read what the data thread wrote, in whole and partial sectors',
  limit,
  async (t) => {
    const { host, connected } = await start(t);
    const client = await connected();
    const content = randomBytes(2 * pieceSize + 8_192);
    assert.equal((await client.write(4_096, content)).code, 0);
    assert.deepEqual((await client.read(4_096, content.length)).data, content);
    assert.deepEqual((await client.read(0, 4_096)).data, Buffer.alloc(4_096));
    const part = randomBytes(700);
    assert.equal((await client.write(5_000, part)).code, 0);
    part.copy(content, 5_000 - 4_096);
    assert.deepEqual((await client.read(4_096, 8_192)).data, content.subarray(0, 8_192));
    assert.equal((await client.write(0, randomBytes(4_096), commandFlag.fua)).code, 0);
    assert.equal((await client.request(command.flush, 0, 0)).code, 0);
    assert.equal((await client.request(command.trim, 4_096, 4_096)).code, 0);
    assert.deepEqual((await client.read(4_096, 4_096)).data, Buffer.alloc(4_096));
    // A new access by gRPC, which ends this one.
    assert.deepEqual(await host.content(content.length - 4_096, 8_192), content.subarray(4_096));
  },
);

test(
  'G1, CMK-100: after a loss the data thread refuses I/O with EIO, and serves it again once access is restored',
  limit,
  async (t) => {
    const { host, connected } = await start(t);
    const client = await connected();
    const content = randomBytes(8_192);
    for (let round = 0; round < 20; round += 1) assert.equal((await client.write(0, content)).code, 0);
    await loseKey(host);
    assert.equal((await client.read(0, 4_096)).code, errno.EIO);
    assert.equal((await client.write(0, content)).code, errno.EIO);
    host.setVault('well');
    host.setEpoch(6);
    const { keyVersion } = host.keyOf(setName);
    await host.publish('KeyAccessRestored', {
      $case: 'keyAccessRestored',
      value: { set: setName, keyVersion, accessEpoch: 6 },
    });
    for (let round = 0; round < 20; round += 1) assert.deepEqual((await client.read(0, 8_192)).data, content);
  },
);

test(
  'CMK-105: the end of the access ends the connection; a request past the end of the disk is refused',
  limit,
  async (t) => {
    const { host, connected } = await start(t);
    const [client, other] = [await connected(), await connected()];
    assert.equal((await other.read(2 ** 30, 4_096)).code, errno.EINVAL);
    assert.equal((await client.write(0, randomBytes(4_096))).code, 0);
    await host.disks.endAccess({ name: diskName });
    await Promise.all([client.ended(), other.ended()]);
  },
);

test('requests far beyond the end are refused, and read no memory of others', limit, async (t) => {
  const { connected } = await start(t);
  const client = await connected();
  // Sums of such an offset and a short length are the offset again.
  for (const offset of [2 ** 53, 2 ** 63]) {
    for (const length of [1, 512, 4_096]) {
      // Requests behind another one that arrive with it are served together.
      client.stream.cork();
      client.send(command.read, 0, 4_096);
      client.send(command.read, offset, length);
      client.send(command.write, offset, length, { payload: randomBytes(length) });
      client.stream.uncork();
      // They may be answered in any order.
      const replies = [await client.reply(0), await client.reply(0), await client.reply(0)];
      assert.deepEqual(replies.map(({ code, data }) => `${code}: ${data.length} bytes`).toSorted(), [
        '0: 4096 bytes',
        `${errno.EINVAL}: 0 bytes`,
        `${errno.EINVAL}: 0 bytes`,
      ]);
    }
  }
});
