import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import { systemClock } from '@interlock/runtime';
import { closeDisk, openDisk, rewrapDek } from '../../testing/test-one-disk.ts';
import { noReply, refusal } from '../keys/test-vault.ts';
import { pieceSize } from '../storage/sector.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../test-disk-host.ts';
import { exportNameOf } from './negotiation.ts';
import { TestNbdClient } from './test-nbd-client.ts';
import { command, commandFlag, errno, holeState, option, optionReply } from './wire.ts';

const limit = { timeout: 60_000 };
const parent = 'subscriptions/s/resourceGroups/g';
const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
const key = (host: DiskHost) => host.keyOf(setName).keyVersion;

/** A disk of 1 GiB under a customer key, with direct access to it. */
const start = async (t: TestContext, options: Parameters<typeof startDiskHost>[0] = {}) => {
  const host = await startDiskHost(options);
  t.after(() => host.stop());
  await host.disks.createDisk({ parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, diskId: 'd', encryption });
  const begin = async (accessLevel: 'READ' | 'WRITE') =>
    (await host.disks.beginAccess({ name: diskName, accessLevel, durationSeconds: 60 })).accessToken;
  return { host, begin };
};

const greeted = (host: DiskHost): Promise<TestNbdClient> => new TestNbdClient(host.connectNbd()).greet();

const connected = async (host: DiskHost, token: string, isStructured = true): Promise<TestNbdClient> => {
  const client = await greeted(host);
  const name = exportNameOf(diskName, token);
  if (isStructured) await client.structured(name);
  assert.equal((await client.go(name)).kind, optionReply.ack);
  return client;
};

const loseKey = async (host: DiskHost, reason: KeyAccessReason = 'KEY_DISABLED'): Promise<void> => {
  host.setVault(refusal(reason, 5));
  const loss = { set: setName, keyVersion: key(host), reason, accessEpoch: 5, since: new Date(), partial: false };
  await host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: loss });
};

for (const isStructured of [true, false]) {
  const replies = isStructured ? 'structured' : 'simple';
  test(`CMK-08: NBD and gRPC read back what NBD wrote at any offset (${replies} replies)`, limit, async (t) => {
    const { host, begin } = await start(t);
    const client = await connected(host, await begin('WRITE'), isStructured);
    const content = randomBytes(2 * pieceSize + 700);
    assert.equal((await client.write(5_000, content)).code, 0);
    assert.deepEqual((await client.read(5_000, content.length)).data, content);
    assert.deepEqual((await client.read(4_999, 2)).data, Buffer.from([0, content[0] ?? 0]));
    assert.equal((await client.request(command.flush, 0, 0)).code, 0);
    client.send(command.disconnect, 0, 0);
    await client.ended();
    assert.deepEqual(await host.content(content.length, 5_000), content);
  });
}

test('CMK-89: a write with FUA and a flushed write survive a restart', limit, async (t) => {
  const { host, begin } = await start(t);
  const client = await connected(host, await begin('WRITE'));
  const [first, second] = [randomBytes(4_096), randomBytes(4_096)];
  assert.equal((await client.write(0, first, commandFlag.fua)).code, 0);
  assert.equal((await client.write(8_192, second)).code, 0);
  assert.equal((await client.request(command.flush, 0, 0)).code, 0);
  await host.restart();
  assert.deepEqual(await host.content(4_096, 0), first);
  assert.deepEqual(await host.content(4_096, 8_192), second);
});

test('trim and write-zeroes make holes of whole sectors; in partial sectors trim keeps the data', limit, async (t) => {
  const { host, begin } = await start(t);
  const client = await connected(host, await begin('WRITE'));
  const content = randomBytes(16 * 4_096);
  await client.write(0, content);
  assert.equal((await client.request(command.trim, 1_000, 8_192)).code, 0);
  assert.equal((await client.request(command.writeZeroes, 5 * 4_096 + 10, 2 * 4_096)).code, 0);
  const noHole = { flags: commandFlag.noHole };
  assert.equal((await client.request(command.writeZeroes, 10 * 4_096, 4_096, noHole)).code, 0);
  content.fill(0, 4_096, 8_192);
  content.fill(0, 5 * 4_096 + 10, 7 * 4_096 + 10);
  content.fill(0, 10 * 4_096, 11 * 4_096);
  assert.deepEqual((await client.read(0, content.length)).data, content);
  const status = await client.request(command.blockStatus, 0, 20 * 4_096);
  assert.deepEqual(status.extents, [
    [4_096, 0],
    [4_096, holeState],
    [4 * 4_096, 0],
    [4_096, holeState],
    [9 * 4_096, 0],
    [4 * 4_096, holeState],
  ]);
  const one = await client.request(command.blockStatus, 0, 20 * 4_096, { flags: commandFlag.reqOne });
  assert.deepEqual(one.extents, [[4_096, 0]]);
  const fast = await client.request(command.writeZeroes, 0, 4_096, { flags: commandFlag.fastZero });
  assert.equal(fast.code, errno.ENOTSUP);
});

test(
  'G1 CMK-100: after an access loss every read, write and trim fails with EIO; once access is restored reads work',
  limit,
  async (t) => {
    const { host, begin } = await start(t);
    const client = await connected(host, await begin('WRITE'));
    const content = randomBytes(4_096);
    await client.write(0, content);
    await loseKey(host);
    assert.equal((await client.read(0, 4_096)).code, errno.EIO);
    assert.equal((await client.write(0, content)).code, errno.EIO);
    assert.equal((await client.request(command.trim, 0, 4_096)).code, errno.EIO);
    assert.equal((await client.request(command.writeZeroes, 0, 4_096)).code, errno.EIO);
    assert.equal((await client.request(command.blockStatus, 0, 4_096)).code, errno.EIO);
    // A flush needs no key: what was acknowledged before the loss must reach storage.
    assert.equal((await client.request(command.flush, 0, 0)).code, 0);
    host.setVault('well');
    host.setEpoch(6);
    await host.publish('KeyAccessRestored', {
      $case: 'keyAccessRestored',
      value: { set: setName, keyVersion: key(host), accessEpoch: 6 },
    });
    assert.deepEqual((await client.read(0, 4_096)).data, content);
  },
);

test('G1: a write fails with EIO if its key is lost while the storage works', limit, async (t) => {
  let meet = async (): Promise<void> => undefined;
  const { host, begin } = await start(t, { beforeWrite: () => meet() });
  const client = await connected(host, await begin('WRITE'));
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  meet = () => {
    reached.resolve();
    return released.promise;
  };
  const written = client.write(0, randomBytes(4_096));
  await reached.promise;
  await loseKey(host);
  released.resolve();
  assert.equal((await written).code, errno.EIO);
});

test(
  'CMK-113: a request pauses while the vault is unreachable, and continues when the vault responds',
  limit,
  async (t) => {
    const { host, begin } = await start(t, { leases: { ttlMs: 100, ioPauseTimeoutMs: 30_000 } });
    const client = await connected(host, await begin('WRITE'));
    const content = randomBytes(4_096);
    await client.write(0, content);
    host.setVault(noReply);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const waiting = client.read(0, 4_096);
    host.setVault('well');
    assert.deepEqual((await waiting).data, content);
  },
);

test(
  'CMK-113: a request fails with EIO after the pause timeout if the vault is still unreachable',
  limit,
  async (t) => {
    const { host, begin } = await start(t, { leases: { ttlMs: 100, ioPauseTimeoutMs: 200 } });
    const client = await connected(host, await begin('WRITE'));
    await client.write(0, randomBytes(4_096));
    host.setVault(noReply);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal((await client.read(0, 4_096)).code, errno.EIO);
  },
);

test('CMK-102: the ultra disk of a running machine is served after a loss, until it is closed', limit, async (t) => {
  const { host } = await start(t);
  const name = `${parent}/disks/u`;
  await host.disks.createDisk({ parent, location: 'l', sku: 'ULTRA', sizeGib: 4, diskId: 'u', encryption });
  const virtualMachine = `${parent}/virtualMachines/v`;
  await host.disks.attachDisk({ name, virtualMachine, requestId: 'r' });
  const { accessToken, attachEpoch } = await openDisk(host.disks, { name, virtualMachine });
  const client = await greeted(host);
  const exportName = exportNameOf(name, accessToken);
  assert.equal((await client.go(exportName)).kind, optionReply.ack);
  const content = randomBytes(4_096);
  await client.write(0, content);
  await loseKey(host);
  assert.deepEqual((await client.read(0, 4_096)).data, content);
  await closeDisk(host.disks, { name, virtualMachine, attachEpoch });
  await client.ended();
});

test('CMK-82: a rotation does not interrupt a connection', limit, async (t) => {
  const { host, begin } = await start(t);
  const client = await connected(host, await begin('WRITE'));
  const content = randomBytes(4_096);
  await client.write(0, content);
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  await rewrapDek(host.asSets, { name: diskName, targetKeyVersion: keyVersion, generation });
  assert.deepEqual((await client.read(0, 4_096)).data, content);
});

test(
  'the connection of a replaced access ends, and its token is refused with ATTACH_EPOCH_OUTDATED',
  limit,
  async (t) => {
    const { host, begin } = await start(t);
    const token = await begin('WRITE');
    const client = await connected(host, token);
    await begin('WRITE');
    await client.ended();
    const refused = await (await greeted(host)).go(exportNameOf(diskName, token));
    assert.equal(refused.kind, optionReply.policy);
    assert.match(refused.data.toString(), /ATTACH_EPOCH_OUTDATED/);
  },
);

test('an expired token, and the token of a machine that detached the disk, are refused', limit, async (t) => {
  let shiftMs = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + shiftMs };
  const { host, begin } = await start(t, { clock });
  const token = await begin('WRITE');
  const refusalOf = async (name: string, of: string): Promise<string> => {
    const { kind, data } = await (await greeted(host)).go(exportNameOf(name, of));
    assert.equal(kind, optionReply.policy);
    return data.toString();
  };
  const client = await connected(host, token);
  shiftMs = 61_000;
  assert.equal((await client.read(0, 512)).code, errno.ESHUTDOWN);
  await client.ended();
  assert.match(await refusalOf(diskName, token), /ATTACH_EPOCH_OUTDATED/);

  const name = `${parent}/disks/m`;
  await host.disks.createDisk({ parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, diskId: 'm', encryption });
  const virtualMachine = `${parent}/virtualMachines/v`;
  await host.disks.attachDisk({ name, virtualMachine, requestId: 'r' });
  const { accessToken, attachEpoch } = await openDisk(host.disks, { name, virtualMachine });
  await closeDisk(host.disks, { name, virtualMachine, attachEpoch });
  await host.disks.detachDisk({ name, virtualMachine });
  await refusalOf(name, accessToken);
});

test('a thousand idle connections do not block another client, and end with the service', limit, async (t) => {
  const { host, begin } = await start(t);
  const idle = await Promise.all(Array.from({ length: 1_000 }, () => greeted(host)));
  const client = await connected(host, await begin('WRITE'));
  const content = randomBytes(4_096);
  assert.equal((await client.write(0, content)).code, 0);
  assert.deepEqual((await client.read(0, 4_096)).data, content);
  await host.restart();
  await Promise.all(idle.map((one) => one.ended()));
});

test(
  'a wrong token, one of another disk and a missing one are refused; a read token does not allow writes',
  limit,
  async (t) => {
    const { host, begin } = await start(t);
    const token = await begin('READ');
    const client = await greeted(host);
    const kindOf = async (name: string) => (await client.go(name)).kind;
    assert.equal(await kindOf(exportNameOf(diskName, `${token.slice(0, -2)}AA`)), optionReply.policy);
    assert.equal(await kindOf(exportNameOf(`${parent}/disks/other`, token)), optionReply.policy);
    assert.equal(await kindOf(diskName), optionReply.unknown);
    assert.equal(await kindOf(`d@${token}`), optionReply.unknown);
    assert.equal(await kindOf(exportNameOf(diskName, token)), optionReply.ack);
    assert.equal((await client.read(0, 512)).code, 0);
    assert.equal((await client.write(0, randomBytes(512))).code, errno.EPERM);
    assert.equal((await client.request(command.trim, 0, 4_096)).code, errno.EPERM);
  },
);

test(
  'ranges outside the disk, oversized requests and unknown commands are EINVAL; an oversized write ends the connection',
  limit,
  async (t) => {
    const { host, begin } = await start(t);
    const client = await connected(host, await begin('WRITE'));
    const size = 2 ** 30;
    assert.equal((await client.read(size - 512, 1_024)).code, errno.EINVAL);
    assert.equal((await client.read(2 ** 63, 512)).code, errno.EINVAL);
    assert.equal((await client.read(0, 33 * 1_048_576)).code, errno.EINVAL);
    for (const offset of [size, 2 ** 53 - 1, 2 ** 63]) {
      assert.equal((await client.write(offset, randomBytes(70_000))).code, errno.EINVAL);
    }
    assert.equal((await client.request(command.trim, size - 512, 2 ** 32 - 512)).code, errno.EINVAL);
    assert.equal((await client.request(99, 0, 0)).code, errno.EINVAL);
    assert.equal((await client.read(0, 512)).code, 0);
    client.send(command.write, 0, 2 ** 32 - 1);
    assert.equal((await client.reply(0)).code, errno.EINVAL);
    await client.ended();
  },
);

test(
  'the list option names open disks without tokens; unknown, oversized and malformed options are refused',
  limit,
  async (t) => {
    const { host, begin } = await start(t);
    const token = await begin('WRITE');
    const client = await greeted(host);
    const listed = await client.option(option.list);
    assert.equal(listed[0]?.data.toString('utf8', 4), diskName);
    const kindOf = async (code: number, data?: Uint8Array) => (await client.option(code, data)).at(-1)?.kind;
    assert.equal(await kindOf(77), optionReply.unsupported);
    assert.equal(await kindOf(11), optionReply.unsupported);
    assert.equal(await kindOf(option.list, Buffer.alloc(1)), optionReply.invalid);
    assert.equal(await kindOf(option.info, Buffer.alloc(9_000)), optionReply.tooBig);
    assert.equal(await kindOf(option.info, Buffer.from([0, 0, 1, 0, 65])), optionReply.invalid);
    assert.equal(await kindOf(option.setMetaContext, Buffer.alloc(8)), optionReply.invalid);
    assert.equal(await kindOf(option.startTls), optionReply.invalid);
    assert.equal((await client.go(exportNameOf(diskName, token))).kind, optionReply.ack);
    const leaving = await greeted(host);
    assert.equal((await leaving.option(option.abort))[0]?.kind, optionReply.ack);
    await leaving.ended();
  },
);

test('clients that do not read their replies do not make other requests wait', limit, async (t) => {
  const { host, begin } = await start(t);
  const token = await begin('WRITE');
  const length = 32 * 1_048_576;
  for (const isStructured of [true, false]) {
    const greedy = await Promise.all(Array.from({ length: 6 }, () => connected(host, token, isStructured)));
    for (const client of greedy) client.send(command.read, 0, length);
    for (const isOtherStructured of [true, false]) {
      const other = await connected(host, token, isOtherStructured);
      const content = randomBytes(length / 8);
      assert.equal((await other.write(0, content)).code, 0);
      assert.deepEqual((await other.read(0, content.length)).data, content);
    }
    for (const client of greedy) assert.equal((await client.reply(length)).code, 0);
    for (const client of greedy) client.stream.destroy();
  }
});

test('writes that are announced and not sent do not make other requests wait', limit, async (t) => {
  const { host, begin } = await start(t);
  const token = await begin('WRITE');
  const silent = await Promise.all(Array.from({ length: 40 }, () => connected(host, token)));
  for (const client of silent) {
    client.send(command.write, 0, 32 * 1_048_576);
    client.stream.write(Buffer.alloc(700_000));
  }
  const other = await connected(host, token);
  const content = randomBytes(4 * 1_048_576);
  assert.equal((await other.write(0, content)).code, 0);
  assert.deepEqual((await other.read(0, content.length)).data, content);
});
