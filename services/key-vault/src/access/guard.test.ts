import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setPermissions } from '@interlock/access';
import { type Cause, category, memoryStore, Rejection } from '@interlock/event-store';
import type { Call, Decision, Principal } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import type { KeyPermission, NewVault, VaultEvent } from '../vault/events.ts';
import { vaults as definition, type ExistingVault } from '../vault/vault.ts';
import { createGuard, type Guard, isOfEarlierLook, type VaultAction } from './guard.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const key = 'vaults/kv1/keys/k1';
const identity: Principal = { kind: 'managed_identity', id: 'i', name: 'principals/i', tenant: 'main' };
const request: NewVault = {
  resourceGroup: 'subscriptions/s/resourceGroups/g',
  tenant: 'tenants/main',
  location: 'westeurope',
  sku: 'standard',
  permissionModel: 'role_assignment',
  accessPolicies: {},
  retentionDays: 90,
  purgeProtected: true,
};

/** A guard of one vault. @param answer identity's decision, by action and scope */
const guarding = async (
  changes: Partial<NewVault>,
  answer: (action: string, scope: string) => Partial<Decision> | Promise<Partial<Decision>>,
) => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const vaults = category(store, definition);
  const created: VaultEvent = { type: 'VaultCreated', ...request, ...changes, at: 1 };
  await vaults.transact('kv1', () => [created], cause);
  const guard = createGuard({
    clock,
    vaults,
    authorize: async (_principal, action, scope) => ({
      allowed: true,
      principalActive: true,
      position: 7,
      ...(await answer(action, scope)),
    }),
  });
  const entry = { inVault: () => undefined, about: () => undefined } as unknown as Parameters<Guard['keyVault']>[4];
  return {
    /** The outcome of the call, or its error. */
    permit: async (permissions: readonly KeyPermission[], caller = identity, obstacle?: Rejection) => {
      const vault = (await vaults.load('kv1')).state as ExistingVault;
      return guard.permit('kv1', vault, key, permissions, { caller, cause }, obstacle).catch((error: unknown) => error);
    },
    keyVault: () => guard.keyVault('kv1', key, 'get', { caller: identity, cause } as Call, entry),
    managed: (action: VaultAction) => guard.managedVault('kv1', action, { caller: identity }, entry),
    store: (...events: readonly VaultEvent[]) => vaults.transact('kv1', () => events, cause),
    /** The recorded decisions of identity, in order. */
    noted: async () =>
      (await store.read('vault-kv1'))
        .filter(({ type }) => type === 'IdentityAnswerChanged')
        .map(({ data }) => Object(data))
        .map(({ removed, position }) => [removed, position]),
  };
};

test('KV-73, CMK-25: each permission is authorized on its own, and the refusal names the missing ones', async () => {
  for (const [allowed, lacking] of [
    [['get'], 'wrapKey,unwrapKey'],
    [['wrapKey', 'unwrapKey'], 'get'],
    [['get', 'wrapKey'], 'unwrapKey'],
  ] as const) {
    const isAllowed = (action: string) => allowed.some((one) => action === `keyVault/keys/${one}`);
    const { permit } = await guarding({}, (action) => ({ allowed: isAllowed(action) }));
    const error = await permit(setPermissions);
    assert.equal(Object(error).reason, 'ACCESS_DENIED');
    assert.equal(Object(error).metadata.permission, lacking);
  }
});

test("CMK-24, KV-72: an access policy counts only for a principal of the vault's tenant", async () => {
  const policy = { permissionModel: 'access_policy', accessPolicies: { [identity.name]: ['get'] } } as const;
  const { permit } = await guarding(policy, () => ({}));
  assert.equal(await permit(['get']), 'permitted');
  assert.equal(Object(await permit(['get'], { ...identity, tenant: 'other' })).reason, 'ACCESS_DENIED');
});

test('G1: a refusal by identity is recorded once, at its oldest position, and only for permissions that disks need', async () => {
  const positions: Readonly<Record<string, number>> = { get: 9, wrapKey: 5, unwrapKey: 8, list: 9 };
  const isDenied = ['wrapKey', 'list'];
  const { permit, noted } = await guarding({}, (action) => {
    const permission = action.replace(/^.*\//, '');
    return { allowed: !isDenied.includes(permission), position: positions[permission] ?? 0 };
  });
  await permit(['list']);
  assert.deepEqual(await noted(), []);
  await permit(setPermissions);
  await permit(setPermissions);
  assert.deepEqual(await noted(), [[true, 5]]);
});

test('G1: a deleted identity is recorded, whichever permission it requested', async () => {
  const { permit, noted } = await guarding({}, () => ({ allowed: false, principalActive: false }));
  assert.equal(Object(await permit(['list'])).reason, 'IDENTITY_DELETED');
  assert.deepEqual(await noted(), [[true, 7]]);
});

test('G10: in a deleted vault, a deleted identity of a set is refused for the vault, which names its cause', async () => {
  const { permit, store, noted } = await guarding({}, () => ({ allowed: false, principalActive: false }));
  await store({ type: 'VaultDeleted', purgeAt: 9, at: 2 });
  assert.equal(Object(await permit(setPermissions)).reason, 'VAULT_DELETED');
  assert.equal(Object(await permit(['get'], { ...identity, kind: 'user' })).reason, 'PRINCIPAL_DELETED');
  assert.deepEqual(await noted(), []);
});

test('G5: only a grant of all disk permissions cancels a recorded refusal; only managed identities are recorded', async () => {
  let allowed = false;
  const { permit, noted } = await guarding({}, () => ({ allowed }));
  await permit(setPermissions, { ...identity, kind: 'user' });
  assert.deepEqual(await noted(), []);
  await permit(setPermissions);
  allowed = true;
  assert.equal(await permit(['get']), 'permitted');
  assert.deepEqual(await noted(), [[true, 7]]);
  assert.equal(await permit(setPermissions), 'returned');
  assert.equal(await permit(setPermissions), 'permitted');
  assert.deepEqual(await noted(), [
    [true, 7],
    [false, 7],
  ]);
});

test('KV-82: a caller with some of the permissions learns what blocks a key; a caller without any does not', async () => {
  const obstacle = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'disabled');
  for (const [allowed, outcome] of [
    [[], 'ACCESS_DENIED'],
    [['get'], 'KEY_DISABLED'],
  ] as const) {
    const { permit } = await guarding({}, (action) => ({ allowed: allowed.some((one) => action.endsWith(`/${one}`)) }));
    assert.equal(Object(await permit(setPermissions, identity, obstacle)).reason, outcome);
  }
  const { permit } = await guarding({}, () => ({}));
  assert.equal(
    await permit(setPermissions, identity, obstacle),
    'permitted',
    'the caller of the guard handles the obstacle',
  );
});

test('KV-66: no caller can use the keys of a deleted vault; a purged vault does not exist', async () => {
  for (const allowed of [true, false]) {
    const { permit, keyVault, store } = await guarding({}, () => ({ allowed }));
    await store({ type: 'VaultDeleted', purgeAt: 9, at: 2 });
    await assert.rejects(keyVault(), { reason: 'VAULT_DELETED' });
    assert.equal(Object(await permit(['get'])).reason, allowed ? undefined : 'VAULT_DELETED');
    await store({ type: 'VaultPurgeStarted', at: 3 }, { type: 'VaultPurged', at: 4 });
    await assert.rejects(keyVault(), { reason: 'VAULT_NOT_FOUND' });
  }
});

test('KV-70: managing a vault needs a role with exactly that action on that vault', async () => {
  const own = 'subscriptions/s/resourceGroups/g/vaults/kv1';
  const { managed } = await guarding({}, (action, scope) => ({
    allowed: action === 'keyVault/vaults/delete' && scope === own,
  }));
  assert.equal((await managed('keyVault/vaults/delete')).status, 'active');
  await assert.rejects(managed('keyVault/vaults/read'), { reason: 'ACCESS_DENIED' });
});

test('KV-70: an access policy with all permissions does not allow the management of its vault', async () => {
  const policies = { permissionModel: 'access_policy', accessPolicies: { [identity.name]: ['all'] } } as const;
  const { managed, permit } = await guarding(policies, (action) => ({
    allowed: !action.startsWith('keyVault/vaults/'),
  }));
  assert.equal(await permit(['purge']), 'permitted');
  for (const action of ['read', 'write', 'delete', 'purge'] as const) {
    await assert.rejects(managed(`keyVault/vaults/${action}`), { reason: 'ACCESS_DENIED' }, action);
  }
});

test('G10: a refusal is decided again if the vault received the change behind it in the meantime', async () => {
  const removal: VaultEvent = {
    type: 'GrantsChanged',
    source: 'roleAssignments/r',
    position: 8,
    principal: identity.name,
    removed: true,
    at: 2,
  };
  let isReceived = false;
  // Identity reads its feed position before it reads roles.
  const place = await guarding({}, async () => {
    if (!isReceived) await place.store(removal);
    isReceived = true;
    return { allowed: false, position: 7 };
  });
  assert.ok(isOfEarlierLook(await place.permit(setPermissions)));
  const refused = await place.permit(setPermissions);
  assert.ok(refused instanceof Rejection && refused.reason === 'ACCESS_DENIED');
  assert.deepEqual(await place.noted(), [], 'the removal is the loss, and no second one is recorded');
});
