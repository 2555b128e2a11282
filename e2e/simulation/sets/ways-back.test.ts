import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import {
  type CallableCause,
  type CauseVariant,
  causeOf,
  causes,
  giveAccessBack,
  isFinal,
  takeAccess,
  variantsOf,
} from '@interlock/lab/causes';
import { readKeyState } from '../../cloud/key-state.ts';
import { serviceOwner } from '../../cloud/service-owner.ts';
import { inSimulatedCloud, parent, type SimulatedSets } from './test-simulated-sets.ts';

const written = Buffer.alloc(8_192, 'every byte of it');

/** Two machines and an unattached disk with known content under one set, and a further key in the same and in another vault. */
const fleetOf = async (world: SimulatedSets) => {
  const kv1 = await world.newVault('kv1');
  const kv2 = await world.newVault('kv2');
  const first = await world.newKey(kv1, 'k1');
  const set = await world.newSet('des1', kv1, first.keyUrl);
  await world.grant(kv2, set);
  const machines = [await world.newMachine('vm1', set), await world.newMachine('vm2', set, [set, 'ULTRA'])];
  const loose = await world.newDisk('loose', set);
  await world.withAccess(loose, (io) => io.write(written));
  const sameVault = await world.newKey(kv1, 'k2');
  const otherVault = await world.newKey(kv2, 'k1');
  await world.settled();
  return { kv1, kv2, first, set, machines, loose, sameVault, otherVault };
};
type Fleet = Awaited<ReturnType<typeof fleetOf>>;
type Step = (world: SimulatedSets, fleet: Fleet) => Promise<unknown>;

const keyOf = (version: string): string => version.split('/versions/')[0] ?? '';
const principalOf = ({ set }: Fleet): string => set.identity?.principal ?? '';

/** The owner of the first key of a fleet. */
const ownerOf = async (world: SimulatedSets, { kv1, first, set }: Fleet) => {
  const { identity, vault: keyVault, sets, clock } = world;
  const clients = { identity, keyVault, sets };
  const place = { resourceGroup: parent, vault: kv1, key: keyOf(first.name), set: set.name };
  const caller = { clients, now: () => clock.now(), ownerToken: () => world.ownerToken() };
  return serviceOwner(caller, await readKeyState(clients, place), []);
};

/** Takes the key away. @returns its own way back */
const lose = async (
  world: SimulatedSets,
  fleet: Fleet,
  variant: Pick<CauseVariant, 'cause' | 'choice'>,
): Promise<() => Promise<unknown>> => {
  const owner = await ownerOf(world, fleet);
  await takeAccess(variant, owner);
  return async () => {
    await giveAccessBack(variant.cause, owner);
    // Disks of the set may be under a key of the other vault, too.
    const set = await world.sets.getDiskEncryptionSet({ name: fleet.set.name });
    if (variant.cause.lost === 'identity') await world.grant(fleet.kv2, set);
  };
};

/** Assigns a new version of the key, another key, or a key in another vault, with the owner's authorization where it is needed. */
const assign =
  (which: 'sameVault' | 'otherVault' | 'newVersion', word: 'with the word' | 'without'): Step =>
  async (world, fleet) => {
    const { set, kv1 } = fleet;
    const { keyUrl } = which === 'newVersion' ? await world.newKey(kv1, 'k1') : fleet[which];
    const keyOwnerToken = word === 'without' ? '' : await world.ownerToken();
    await world.sets.assignKey({ name: set.name, keyUrl, keyOwnerToken });
  };

/** Every cause in a vault with access policies, and its own way back. */
const ownWays = variantsOf(causes).filter(
  ({ cause }) => cause.take !== undefined && !isFinal(cause) && cause.model !== 'ROLE_ASSIGNMENT',
);

/** Ways back by another key. */
const otherWays: readonly (readonly [cause: CallableCause, way: string, Step])[] = [
  ['disable-version', 'another version, with authorization', assign('newVersion', 'with the word')],
  ['disable-version', 'another key, with authorization', assign('sameVault', 'with the word')],
  ['disable-version', 'a key in another vault, with authorization', assign('otherVault', 'with the word')],
  ['delete-key', 'a key in another vault, with authorization', assign('otherVault', 'with the word')],
  ['expire-key', 'another key, without authorization', assign('sameVault', 'without')],
  [
    'expire-key',
    'deleted too, then a key in another vault, with authorization',
    async (world, fleet) => {
      await lose(world, fleet, { cause: causeOf('delete-key') });
      await world.settled();
      await assign('otherVault', 'with the word')(world, fleet);
    },
  ],
];

const ways: readonly {
  readonly variant: Pick<CauseVariant, 'cause' | 'choice'>;
  readonly title: string;
  readonly goBack?: Step;
}[] = [
  ...ownWays.map((variant) => ({ variant, title: `${variant.title} → ${variant.cause.back}` })),
  ...otherWays.map(([name, way, goBack]) => ({
    variant: { cause: causeOf(name) },
    title: `${name} → ${way}`,
    goBack,
  })),
];

const powersOf = async (world: SimulatedSets, { machines }: Fleet): Promise<string[]> =>
  Promise.all(machines.map((name) => world.powerOf(name)));

for (const { variant, title, goBack } of ways) {
  test(`G5, CMK-125, CMK-127: ${title}: machines stay stopped until started, and every byte is there`, async () => {
    await inSimulatedCloud(21, async (world) => {
      const fleet = await fleetOf(world);
      const ownWay = await lose(world, fleet, variant);
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);
      await assert.rejects(world.withAccess(fleet.loose, (io) => io.read(written.length)));
      await (goBack?.(world, fleet) ?? ownWay());
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED'], 'nothing starts by itself');
      for (const name of fleet.machines) {
        await world.compute.startVirtualMachine({ name });
        await world.untilPower(name, 'RUNNING');
      }
      assert.deepEqual(await world.withAccess(fleet.loose, (io) => io.read(written.length)), written);
      const { previousKeys, rotation } = await world.sets.getDiskEncryptionSet({ name: fleet.set.name });
      assert.deepEqual([previousKeys, rotation?.state ?? 'SUCCEEDED'], [[], 'SUCCEEDED']);
    });
  });
}

test('CMK-121, autoRestart: machines whose disks moved to another key restart automatically if their set allows it', async () => {
  await inSimulatedCloud(24, async (world) => {
    const fleet = await fleetOf(world);
    await world.sets.updateDiskEncryptionSet({ name: fleet.set.name, autoRestart: true });
    const off = await world.newMachine('vm3', fleet.set);
    await world.compute.powerOffVirtualMachine({ name: off });
    await world.untilPower(off, 'STOPPED');
    await lose(world, fleet, { cause: causeOf('delete-key') });
    await world.settled();
    assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);
    await assign('otherVault', 'with the word')(world, fleet);
    for (const name of fleet.machines) await world.untilPower(name, 'RUNNING');
    await world.settled();
    assert.deepEqual(await powersOf(world, fleet), ['RUNNING', 'RUNNING']);
    assert.equal(await world.powerOf(off), 'STOPPED', 'its user had stopped it before');
    assert.deepEqual(await world.withAccess(fleet.loose, (io) => io.read(written.length)), written);
  });
});

for (const power of ['RUNNING', 'STOPPED'] as const) {
  test(`CMK-25, CMK-104: an expiry that stops nothing does not hide the later removal of a permission, for machines that are ${power}`, async () => {
    await inSimulatedCloud(25, async (world) => {
      const fleet = await fleetOf(world);
      const { set, kv1, loose, machines } = fleet;
      await world.sets.updateDiskEncryptionSet({ name: set.name, keyExpiry: 'NEXT_START' });
      if (power === 'STOPPED') {
        for (const name of machines) await world.compute.powerOffVirtualMachine({ name });
      }
      await world.settled();
      const moveDates = await lose(world, fleet, { cause: causeOf('expire-key') });
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), [power, power], 'the expiry stops nothing');
      const found = async () => (await world.disks.getDisk({ name: loose })).unavailableReason;
      assert.equal(await found(), 'KEY_ACCESS_REASON_UNSPECIFIED');
      const accessPolicy = {
        principal: principalOf(fleet),
        keyPermissions: ['WRAP_KEY' as const, 'UNWRAP_KEY' as const],
      };
      await world.vault.setAccessPolicy({ name: kv1, accessPolicy });
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);
      assert.equal(await found(), 'ACCESS_DENIED');
      await world.grant(kv1, set);
      await world.settled();
      await moveDates();
      await world.settled();
      assert.equal(await found(), 'KEY_ACCESS_REASON_UNSPECIFIED');
      for (const name of machines) await world.compute.startVirtualMachine({ name });
      for (const name of machines) await world.untilPower(name, 'RUNNING');
    });
  });
}

for (const cause of ['disable-version', 'delete-key'] as const) {
  test(`CMK-10, CMK-121: a user with rights on the set but not on the key cannot undo ${cause}`, async () => {
    await inSimulatedCloud(22, async (world) => {
      const fleet = await fleetOf(world);
      const { set, first, otherVault } = fleet;
      const owner = await world.newPerson({ role: 'roles/contributor', scope: parent });
      const sets = world.cloud.as(owner).client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
      await lose(world, fleet, { cause: causeOf(cause) });
      await world.settled();

      // The user's own authorization does not count, because the user may neither enable nor recover the old key.
      const keyOwnerToken = await world.ownerToken(owner);
      const { name } = set;
      const request = { name, keyUrl: otherVault.keyUrl };
      await assert.rejects(sets.assignKey({ ...request, keyOwnerToken }), { reason: 'ACCESS_DENIED' });
      await sets.assignKey(request);
      await world.settled();
      await assert.rejects(sets.resumeRotation({ name, keyOwnerToken }), { reason: 'ACCESS_DENIED' });
      await sets.resumeRotation({ name });
      // Neither does another identity, which starts without grants, nor assigning a key back and forth.
      await sets.updateDiskEncryptionSet({ name, identityType: 'NONE' });
      await sets.updateDiskEncryptionSet({ name, identityType: 'SYSTEM_ASSIGNED' });
      await world.settled();

      const waiting = await world.sets.getDiskEncryptionSet({ name });
      assert.deepEqual(
        waiting.previousKeys.map(({ keyVersion }) => keyVersion),
        [first.name],
      );
      assert.equal(waiting.rotation?.state, 'WAITING');
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);
      await assert.rejects(world.withAccess(fleet.loose, (io) => io.read(written.length)));
      for (const machine of fleet.machines) {
        await world.compute.startVirtualMachine({ name: machine });
        await world.clock.sleep(5_000);
        assert.equal(await world.powerOf(machine), 'STOPPED');
      }
    });
  });
}

const taken = variantsOf(causes).filter(({ title }) =>
  ['remove-permission get', 'remove-permission wrap', 'remove-operation wrap'].includes(title),
);

for (const variant of taken) {
  test(`CMK-10, CMK-25: ${variant.title}, which stops machines: another key assigned without authorization does not undo it`, async () => {
    await inSimulatedCloud(27, async (world) => {
      const fleet = await fleetOf(world);
      const { set, first, otherVault, loose, machines } = fleet;
      const { name } = set;
      const ownWay = await lose(world, fleet, variant);
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);
      await world.sets.assignKey({ name, keyUrl: otherVault.keyUrl });
      await world.settled();
      const { rotation, previousKeys } = await world.sets.getDiskEncryptionSet({ name });
      assert.deepEqual(
        [rotation?.state, rotation?.waitingReason, rotation?.waitingForKeyVersion],
        ['WAITING', 'ACCESS_DENIED', first.name],
      );
      assert.equal(previousKeys.length, 1);
      await assert.rejects(world.withAccess(loose, (io) => io.read(written.length)));
      await world.compute.startVirtualMachine({ name: machines[0] ?? '' });
      await world.settled();
      assert.deepEqual(await powersOf(world, fleet), ['STOPPED', 'STOPPED']);

      await ownWay();
      await world.untilSet(name, 'all has moved', (now) => now.rotation?.state === 'SUCCEEDED');
      assert.deepEqual(await world.withAccess(loose, (io) => io.read(written.length)), written);
    });
  });
}

test('CMK-88: a disk does not move to a key without purge protection until the target vault enables it', async () => {
  await inSimulatedCloud(26, async (world) => {
    const { set, kv1, kv2, otherVault, loose } = await fleetOf(world);
    const { name } = set;
    await world.vault.enablePurgeProtection({ name: kv1 });
    await world.sets.assignKey({ name, keyUrl: otherVault.keyUrl });
    await world.settled();
    const { rotation } = await world.sets.getDiskEncryptionSet({ name });
    assert.deepEqual(
      [rotation?.state, rotation?.waitingCode, rotation?.waitingForKeyVersion],
      ['WAITING', 'TARGET_WEAKER_PROTECTED', otherVault.name],
    );
    assert.deepEqual(await world.withAccess(loose, (io) => io.read(written.length)), written);
    await world.vault.enablePurgeProtection({ name: kv2 });
    const moved = await world.untilSet(name, 'all has moved', (now) => now.rotation?.state === 'SUCCEEDED');
    assert.deepEqual(moved.previousKeys, []);
  });
});

test('CMK-108, CMK-121: a purge is final: another key serves new disks, old disks report KEY_PURGED', async () => {
  await inSimulatedCloud(23, async (world) => {
    const fleet = await fleetOf(world);
    const { set, first, otherVault, loose } = fleet;
    await world.vault.deleteKey({ name: keyOf(first.name), confirmName: keyOf(first.name) });
    await world.vault.purgeKey({ name: keyOf(first.name), confirmName: keyOf(first.name) });
    await world.settled();
    await world.sets.assignKey({ name: set.name, keyUrl: otherVault.keyUrl });
    await world.settled();
    const now = await world.sets.getDiskEncryptionSet({ name: set.name });
    assert.deepEqual([now.rotation?.state, now.rotation?.waitingReason], ['WAITING', 'KEY_PURGED']);
    // An owner cannot authorize a move from a purged key.
    await world.sets.resumeRotation({ name: set.name, keyOwnerToken: await world.ownerToken() });
    await world.settled();
    const later = await world.sets.getDiskEncryptionSet({ name: set.name });
    assert.deepEqual([later.rotation?.state, later.rotation?.waitingReason], ['WAITING', 'KEY_PURGED']);
    assert.equal((await world.disks.getDisk({ name: loose })).unavailableReason, 'KEY_PURGED');
    await assert.rejects(
      world.withAccess(loose, (io) => io.read(written.length)),
      { reason: 'KEY_PURGED' },
    );
    const fresh = await world.newDisk('fresh', set);
    await world.withAccess(fresh, (io) => io.write(written));
    assert.deepEqual(await world.withAccess(fresh, (io) => io.read(written.length)), written);
  });
});
