import assert from 'node:assert/strict';
import { test } from 'node:test';
import { causes, isCallableKeyAction, isFinal, type Step, variantsOf } from '@interlock/lab';
import { type EffectEvent, type KeyPlace, type KeyState, readKeyState } from '../../cloud/key-state.ts';
import type { KeyOwner } from '../../cloud/service-owner.ts';
import { createSimulatedCloud, type SimulatedCloud } from '../../simulation/cloud/simulated-cloud.ts';
import { estateImage } from '../../simulation/runs/estate-image.ts';
import { openTruth } from '../../simulation/truth/truth.ts';
import { clientsOf, group, ownerToken, setName } from '../../simulation/workload/estate.ts';
import { carryOutKeyAction, planKeyAction, undoKeyAction } from './key-actions.ts';

/** Keys in the simulated estate: one in a vault with access policies, one in a vault with role assignments. */
const byPolicy: KeyPlace = {
  resourceGroup: group,
  vault: 'vaults/kv1',
  key: 'vaults/kv1/keys/k1',
  set: setName('house'),
};
const byRole: KeyPlace = {
  resourceGroup: group,
  vault: 'vaults/kv2',
  key: 'vaults/kv2/keys/k1',
  set: setName('lodge'),
};

/** Causes that are played here. */
const playedCauses = variantsOf(causes).filter(({ cause }) => cause.take !== undefined && !isFinal(cause));

/** The dates that `expire-key` sets are at most this far ahead, in milliseconds. */
const untilDateMs = 1_001;

const withCloud = async (
  work: (world: SimulatedCloud, owner: KeyOwner, truth: ReturnType<typeof openTruth>) => Promise<void>,
): Promise<void> => {
  const { cloud: image, commits } = await estateImage();
  const world = await createSimulatedCloud({ seed: 1, image });
  const truth = openTruth(world);
  for (const committed of commits) truth.apply(committed);
  world.onCommit((committed) => truth.apply(committed));
  const owner = { clients: clientsOf(world), now: () => world.clock.now(), ownerToken: () => ownerToken(world) };
  try {
    await world.run(() => work(world, owner, truth));
  } finally {
    world.close();
  }
};

/** Whether an event is in the store of its service, at a position after `head`. */
const isStored = async (world: SimulatedCloud, event: EffectEvent, head: number): Promise<boolean> => {
  const events = await world.storeOf(event.service).feed(head, 1_000);
  return events.some(({ stream, type }) => stream === event.stream && event.types.includes(type));
};

const headOf = async (world: SimulatedCloud, event: EffectEvent['service']): Promise<number> =>
  (await world.storeOf(event).feed(0, 1_000_000)).at(-1)?.position ?? 0;

/** Every cause that can be undone, on a vault of each permission model that it works on. */
const cases = playedCauses.flatMap(({ cause, choice, title }) => {
  const { name, model } = cause;
  assert.ok(isCallableKeyAction(name));
  const options: Step['options'] = cause.choice && choice ? { [cause.choice.option]: choice } : {};
  const places = [...(model === 'ROLE_ASSIGNMENT' ? [] : [byPolicy]), ...(model === 'ACCESS_POLICY' ? [] : [byRole])];
  return places.map((place) => ({ action: name, place, options, title }));
});

for (const { action, place, options, title } of cases) {
  test(`G5: the undo of ${title} in ${place.vault} restores the same access, also when action and undo are repeated`, () =>
    withCloud(async (world, owner, truth) => {
      const key = await readKeyState(owner.clients, place);
      const blockers = () => truth.losses.blockers(place.set, key.keyVersion, 'opening');
      assert.deepEqual(blockers(), []);
      const undo = planKeyAction({ action, options }, { key, uuid: () => world.random.uuid() });
      const head = await headOf(world, 'key-vault');
      const done = await carryOutKeyAction(owner, action, undo);
      await carryOutKeyAction(owner, action, undo);
      if (done.event === undefined) assert.ok((done.effectMs ?? 0) > world.clock.now(), 'a date decides');
      else assert.ok(await isStored(world, done.event, done.event.service === 'key-vault' ? head : 0));
      await world.clock.sleep(untilDateMs);
      assert.ok(blockers().length > 0, 'the set cannot use the key');

      const given = await undoKeyAction(owner, action, JSON.parse(JSON.stringify(undo)));
      assert.ok(given.event && (await isStored(world, given.event, 0)));
      await undoKeyAction(owner, action, undo);
      await world.clock.sleep(world.settings.authzTtlMs);
      assert.deepEqual(blockers(), []);
      const after = await readKeyState(owner.clients, place);
      const ofGrant = ({
        keyVersion,
        notBeforeMs,
        expireMs,
        permissionModel,
        permissions,
        roles,
        ...rest
      }: KeyState) => ({
        keyVersion,
        notBeforeMs,
        expireMs,
        permissionModel,
        operations: [...rest.operations].sort(),
        networkRules: rest.networkRules,
        permissions: [...permissions].sort(),
        roles: roles.map(({ role, scope }) => ({ role, scope })),
      });
      assert.deepEqual(ofGrant(after), ofGrant(key));
    }));
}

test('an undo of an action that was not carried out changes nothing', () =>
  withCloud(async (world, owner, truth) => {
    for (const { action, place, options } of cases) {
      const key = await readKeyState(owner.clients, place);
      await undoKeyAction(owner, action, planKeyAction({ action, options }, { key, uuid: () => world.random.uuid() }));
      assert.deepEqual(await readKeyState(owner.clients, place), key, action);
      assert.deepEqual(truth.losses.blockers(place.set, key.keyVersion, 'opening'), [], action);
    }
  }));

test('CMK-108: a purge has no undo, and access ends at the deletion before it', () =>
  withCloud(async (world, owner, truth) => {
    const key = await readKeyState(owner.clients, byPolicy);
    const undo = planKeyAction({ action: 'purge-key', options: {} }, { key, uuid: () => world.random.uuid() });
    const { event } = await carryOutKeyAction(owner, 'purge-key', undo);
    assert.deepEqual(event?.types, ['KeyDeleted']);
    assert.ok(truth.losses.access.isGone(key.keyVersion));
    assert.deepEqual((await undoKeyAction(owner, 'purge-key', undo)).event, undefined);
    assert.ok(truth.losses.access.isGone(key.keyVersion));
  }));

for (const action of ['rotate-key', 'assign-key'] as const) {
  test(`CMK-80: ${action} moves the set to another key version, and its undo moves it back`, () =>
    withCloud(async (world, owner) => {
      const [key, to] = [await readKeyState(owner.clients, byPolicy), await readKeyState(owner.clients, byRole)];
      const undo = planKeyAction({ action, options: {} }, { key, to, uuid: () => world.random.uuid() });
      const { event } = await carryOutKeyAction(owner, action, undo);
      await carryOutKeyAction(owner, action, undo);
      assert.ok(event && (await isStored(world, event, 0)));
      await world.clock.sleep(30_000);
      const moved = await readKeyState(owner.clients, byPolicy);
      assert.notEqual(moved.keyVersion, key.keyVersion);
      assert.equal(moved.keyVersions.length, 1, 'every disk has moved');
      await undoKeyAction(owner, action, undo);
      await world.clock.sleep(30_000);
      assert.deepEqual((await readKeyState(owner.clients, byPolicy)).keyVersions, [key.keyVersion]);
    }));
}

test('remove-permission refuses an unknown permission and names those it can remove', async () => {
  const key = { roles: [] } as unknown as KeyState;
  assert.throws(
    () => planKeyAction({ action: 'remove-permission', options: { permission: 'list' } }, { key, uuid: () => '' }),
    { message: 'permission must be get, wrap, unwrap (got list)' },
  );
});
