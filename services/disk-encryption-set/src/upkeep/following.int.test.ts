import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { isDone, newDisk, readySet } from '../testing/test-ready-sets.ts';
import { type SetCloud, startSetCloud } from '../testing/test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud();
});
after(() => world?.close());

const keyOf = (keyVersion: string): string => keyVersion.split('/versions/')[0] ?? '';

test('CMK-36, CMK-81, CMK-91: a set that follows its key moves to a new version, and shows what blocks it', async () => {
  const { set, vault, key } = await readySet(world);
  const disk = await newDisk(world, set);
  const { name } = set;
  await world.sets.updateDiskEncryptionSet({ name, autoKeyRotationEnabled: true });
  const rotated = await world.keyVault.rotateKey({ name: keyOf(key.name), requestId: randomUUID() });
  const moved = await world.until(name, (now) => now.activeKey?.keyVersion === rotated.name && isDone(now));
  assert.deepEqual([moved.previousKeys, world.disks.stock.get(disk)?.keyVersion], [[], rotated.name]);

  const early = await world.keyVault.createKey({
    parent: vault,
    keyId: keyOf(key.name).split('/').at(-1) ?? '',
    requestId: randomUUID(),
    attributes: { notBefore: new Date(Date.now() + 3_600_000) },
  });
  const waiting = await world.until(name, ({ autoKeyRotationError }) => autoKeyRotationError !== undefined);
  assert.deepEqual(
    [waiting.autoKeyRotationError?.code, waiting.autoKeyRotationError?.keyVersion, waiting.activeKey?.keyVersion],
    ['KEY_NOT_YET_VALID', early.name, rotated.name],
  );
  await world.keyVault.setKeyVersionDates({ name: early.name });
  const followed = await world.until(name, (now) => now.activeKey?.keyVersion === early.name);
  assert.equal(followed.autoKeyRotationError, undefined);
});
