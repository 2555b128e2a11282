import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  grant,
  isDone,
  isLost,
  isWaiting,
  newDisk,
  newKey,
  newVault,
  ownerToken,
  readySet,
} from './test-ready-sets.ts';
import { type SetCloud, startSetCloud } from './test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud({ isPurgeProtected: false });
});
after(() => world?.close());

const keyOf = (keyVersion: string): string => keyVersion.slice(0, keyVersion.indexOf('/versions/'));

/** A set with a standby key in another vault and a disk under both, whose first key was purged then. */
const purgedSet = async () => {
  const { set, vault, key } = await readySet(world, { isPurgeable: true });
  const { name } = set;
  const elsewhere = await newVault(world);
  await grant(world, set, elsewhere);
  const standby = await newKey(world, elsewhere);
  const named = await world.sets.updateDiskEncryptionSet({ name, standbyKeyUrl: standby.keyUrl });
  const disk = await newDisk(world, named);
  const content = await world.disks.open(disk);
  await world.keyVault.deleteKey({ name: keyOf(key.name), confirmName: keyOf(key.name) });
  await world.keyVault.purgeKey({ name: keyOf(key.name), confirmName: keyOf(key.name) });
  await world.until(name, isLost(key.name, 'KEY_PURGED'));
  return { name, vault, elsewhere, standby, disk, content };
};

test('CMK-108: a set with a standby key survives the purge of its key, by the word of the owner of the standby key', async () => {
  const { name, standby, disk, content } = await purgedSet();
  await world.sets.assignKey({ name, keyUrl: standby.keyUrl });
  const waiting = await world.until(name, isWaiting);
  assert.equal(waiting.rotation?.waitingReason, 'KEY_PURGED', 'without a word nothing moves');
  const { id: clientId, secret: clientSecret } = await world.newPrincipal();
  const stranger = await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' });
  await assert.rejects(world.sets.resumeRotation({ name, keyOwnerToken: stranger.accessToken }), {
    reason: 'ACCESS_DENIED',
  });
  await world.sets.resumeRotation({ name, keyOwnerToken: await ownerToken(world) });
  const moved = await world.until(name, isDone);
  assert.deepEqual([moved.previousKeys, moved.activeKey?.keyVersion], [[], standby.name]);
  assert.equal(moved.standbyKey, undefined, 'the active key is its own standby no more');
  assert.deepEqual(await world.disks.open(disk), content);
});

test('CMK-108: the standby wraps move to any key that is assigned, and the standby stays one', async () => {
  const { name, elsewhere, standby, disk, content } = await purgedSet();
  const third = await newKey(world, elsewhere);
  await world.sets.assignKey({ name, keyUrl: third.keyUrl, keyOwnerToken: await ownerToken(world) });
  const moved = await world.until(name, isDone);
  assert.deepEqual([moved.activeKey?.keyVersion, moved.standbyKey?.keyVersion], [third.name, standby.name]);
  assert.deepEqual(await world.disks.open(disk), content);
});
