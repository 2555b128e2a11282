import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  grant,
  isAvailable,
  isDone,
  isLost,
  newDisk,
  newKey,
  newVault,
  principalOf,
  publishedOf,
  readySet,
  requestFor,
} from '../testing/test-ready-sets.ts';
import { type SetCloud, startSetCloud } from '../testing/test-set-cloud.ts';

let world: SetCloud;
before(async () => {
  world = await startSetCloud();
});
after(() => world?.close());

const publishedOptions = async (set: string) =>
  (await publishedOf(world, set)).flatMap((event) => (event?.$case === 'setOptionsChanged' ? [event.value] : []));

test('CMK-104, CMK-125: a new set publishes its options, and a repeated creation with other options is refused', async () => {
  const vault = await newVault(world);
  const key = await newKey(world, vault);
  const requested = {
    ...requestFor(key.keyUrl),
    keyExpiry: 'NEXT_START',
    autoRestart: true,
    autoKeyRotationEnabled: true,
    spread: true,
  } as const;
  const made = await world.sets.createDiskEncryptionSet(requested);
  const { keyExpiry, autoRestart, autoKeyRotationEnabled, spread } = made;
  assert.deepEqual([keyExpiry, autoRestart, autoKeyRotationEnabled, spread], ['NEXT_START', true, true, true]);
  assert.deepEqual(await publishedOptions(made.name), [{ set: made.name, keyExpiry: 'NEXT_START', autoRestart: true }]);
  assert.equal((await world.sets.createDiskEncryptionSet(requested)).name, made.name);
  await assert.rejects(world.sets.createDiskEncryptionSet({ ...requested, autoRestart: false }), {
    reason: 'DISK_ENCRYPTION_SET_ALREADY_EXISTS',
  });
});

test('an update changes what it names, is published once, and checks the etag', async () => {
  const { set } = await readySet(world);
  const { name } = set;
  const updated = await world.sets.updateDiskEncryptionSet({ name, autoRestart: true });
  assert.deepEqual([updated.autoRestart, updated.keyExpiry, updated.spread], [true, 'STOP', false]);
  const again = await world.sets.updateDiskEncryptionSet({ name, autoRestart: true });
  assert.equal(again.etag, updated.etag, 'requested twice, decided once');
  assert.equal((await publishedOptions(name)).length, 2);
  await assert.rejects(world.sets.updateDiskEncryptionSet({ name, autoRestart: false, etag: '1' }), {
    code: 'ABORTED',
    reason: 'ETAG_MISMATCH',
  });
  const off = await world.sets.updateDiskEncryptionSet({ name, autoRestart: false, keyExpiry: 'NEXT_START' });
  assert.deepEqual([off.autoRestart, off.keyExpiry], [false, 'NEXT_START']);
  assert.equal((await world.sets.updateDiskEncryptionSet({ name, spread: true })).spread, true);
});

test('an invalid update is refused with its own reason, and nothing changes', async () => {
  const { set } = await readySet(world);
  const { name } = set;
  const update = world.sets.updateDiskEncryptionSet;
  const refusals = [
    [{ name }, 'UPDATE_EMPTY'],
    [{ name: `${name}x`, autoRestart: true }, 'DISK_ENCRYPTION_SET_NOT_FOUND'],
  ] as const;
  const { etag } = await world.sets.getDiskEncryptionSet({ name });
  for (const [request, reason] of refusals) await assert.rejects(update(request), { reason }, reason);
  assert.equal((await world.sets.getDiskEncryptionSet({ name })).etag, etag);
});

test('CMK-38, CMK-37: without an identity the keys are lost at once; a new one needs grants, then access is restored', async () => {
  const { set, vault, key } = await readySet(world);
  const { name } = set;
  const disk = await newDisk(world, set);
  const cut = await world.sets.updateDiskEncryptionSet({ name, identityType: 'NONE' });
  assert.ok(isLost(key.name, 'IDENTITY_DELETED')(cut), 'published with the commit that removes the identity');
  assert.deepEqual([cut.identity?.type, cut.identity?.principal], ['NONE', '']);
  await assert.rejects(world.sets.assignKey({ name, keyUrl: (await newKey(world, vault)).keyUrl }), {
    reason: 'IDENTITY_DELETED',
  });
  const made = await world.sets.updateDiskEncryptionSet({ name, identityType: 'SYSTEM_ASSIGNED' });
  assert.notEqual(principalOf(made), principalOf(set), 'CMK-39: old grants do not carry over');
  await world.until(name, isLost(key.name, 'ACCESS_DENIED'));
  const old = await world.identity.getPrincipal({ name: principalOf(set) });
  assert.equal(old.state, 'DELETED');
  await grant(world, made, vault);
  await world.until(name, (now) => isAvailable(key.name)(now) && isDone(now));
  assert.equal(world.disks.stock.get(disk)?.generation, 2, 'the new identity reached the disk');
});

test('CMK-37: an identity that another caller deleted is replaced by an update', async () => {
  const { set, vault, key } = await readySet(world);
  const { name } = set;
  await world.identity.deletePrincipal({ name: principalOf(set), confirmName: principalOf(set) });
  await world.until(name, isLost(key.name, 'IDENTITY_DELETED'));
  const made = await world.sets.updateDiskEncryptionSet({ name, identityType: 'SYSTEM_ASSIGNED' });
  await grant(world, made, vault);
  await world.until(name, isAvailable(key.name));
});
