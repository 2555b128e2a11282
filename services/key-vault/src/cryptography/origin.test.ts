import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, eventReader, memoryStore } from '@interlock/event-store';
import { traceIdOf, virtualClock } from '@interlock/runtime';
import { evolve, initial, type Key, keys } from '../key/key.ts';
import { findOrigin } from './origin.ts';

const cause = { correlationId: 'c', causes: [], caller: 'principals/owner' };
const principal = 'principals/a';
const absent: Key = initial;
const keyEvent = eventReader(keys);

/** The key as it was at that version of its stream. */
const keyAt = async (store: EventStore, key: string, version: number): Promise<Key> =>
  (await store.read(`key-${key}`))
    .filter((recorded) => recorded.version <= version)
    .reduce((state, recorded) => {
      const read = keyEvent(recorded);
      assert.ok(read);
      return evolve(state, read.event, recorded.version);
    }, absent);

/** A vault with access policies. The policy of the principal is removed, then the vault is changed to roles. */
const switchedVault = async () => {
  const store = memoryStore({ clock: virtualClock() });
  const created = {
    type: 'VaultCreated',
    tenant: 'tenants/main',
    resourceGroup: 'subscriptions/s/resourceGroups/g',
    location: 'westeurope',
    sku: 'standard',
    retentionDays: 7,
    purgeProtected: false,
    permissionModel: 'access_policy',
    accessPolicies: { [principal]: ['get'] },
    at: 1,
  };
  const events = [
    created,
    { type: 'AccessPolicyRemoved', principal, at: 2 },
    { type: 'PermissionModelSet', permissionModel: 'role_assignment', at: 3 },
  ].map(({ type, ...data }) => ({ type, schema: 1, data }));
  await store.commit({ appends: [{ stream: 'vault-v', expected: 0, events }] }, cause);
  return store;
};

test('G7: the origin of a refusal is in the state that the refusal read, not in a later commit', async () => {
  const store = await switchedVault();
  const recorded = await store.read('vault-v');
  const positionOf = (type: string) => recorded.find((event) => event.type === type)?.position;
  const use = {
    reason: 'ACCESS_DENIED',
    vault: 'v',
    key: 'vaults/v/keys/k',
    state: absent,
    principal,
    permissions: ['get'] as const,
    operations: [],
  };
  const seenBefore = await findOrigin(store, { ...use, seen: { vaultVersion: 2, keyVersion: 1 } });
  assert.equal(seenBefore?.position, positionOf('AccessPolicyRemoved'));
  const seenAfter = await findOrigin(store, { ...use, seen: { vaultVersion: 3, keyVersion: 1 } });
  assert.equal(seenAfter?.position, positionOf('PermissionModelSet'));
});

test('CMK-27, G10: the change to access policies is the origin of the loss of what a role had granted', async () => {
  const store = await switchedVault();
  const data = { permissionModel: 'access_policy', at: 4 };
  const events = [{ type: 'PermissionModelSet', schema: 1, data }];
  await store.commit({ appends: [{ stream: 'vault-v', expected: 3, events }] }, cause);
  const origin = await findOrigin(store, {
    ...{ reason: 'ACCESS_DENIED', vault: 'v', key: 'vaults/v/keys/k', state: absent, principal },
    ...{ permissions: ['get'], operations: [], seen: { vaultVersion: 4, keyVersion: 1 } },
  });
  assert.equal(origin?.position, (await store.read('vault-v')).at(-1)?.position);
});

test('G10: a new role that does not suffice does not hide the removal of the role that did', async () => {
  const store = await switchedVault();
  const key = 'vaults/v/keys/k';
  const append = async (
    ...events: readonly { readonly type: string; readonly removed: boolean; readonly at: number }[]
  ) => {
    const expected = (await store.read('vault-v')).length;
    const stored = events.map(({ type, ...data }) => ({
      type,
      schema: 1,
      data: { source: 'r', principal, key, ...data },
    }));
    await store.commit({ appends: [{ stream: 'vault-v', expected, events: stored }] }, cause);
  };
  const origin = async () => {
    const seen = { vaultVersion: (await store.read('vault-v')).length, keyVersion: 1 };
    const use = {
      reason: 'ACCESS_DENIED',
      vault: 'v',
      key,
      state: absent,
      principal,
      permissions: ['get'] as const,
      operations: [],
    };
    return findOrigin(store, { ...use, seen });
  };
  await append(
    { type: 'GrantsChanged', removed: false, at: 4 },
    { type: 'GrantsChanged', removed: true, at: 5 },
    { type: 'IdentityAnswerChanged', removed: true, at: 6 },
  );
  const taken = await origin();
  assert.equal(taken?.since, 5);
  await append({ type: 'GrantsChanged', removed: false, at: 7 });
  assert.deepEqual(await origin(), taken);
  // Identity granted all that is needed: the earlier removal no longer counts.
  await append(
    { type: 'IdentityAnswerChanged', removed: false, at: 8 },
    { type: 'GrantsChanged', removed: false, at: 9 },
  );
  assert.equal(await origin(), undefined);
});

test('G10: a refusal for KEY_DISABLED keeps its origin; an expiry after the enable is the origin of KEY_EXPIRED', async () => {
  const store = memoryStore({ clock: virtualClock() });
  const version = 'a'.repeat(32);
  const key = 'vaults/v/keys/k';
  const made = {
    version,
    bits: 2048,
    n: 'n',
    operations: ['wrapKey', 'unwrapKey'],
    enabled: true,
    expiresAt: 4,
    at: 1,
  };
  const events = [
    { type: 'KeyVersionCreated', ...made },
    { type: 'KeyVersionDisabled', version, at: 2 },
    { type: 'KeyVersionEnabled', version, at: 4 },
    { type: 'KeyVersionExpired', version, expiresAt: 4, at: 4 },
  ].map(({ type, ...data }) => ({ type, schema: 1, data }));
  await store.commit({ appends: [{ stream: `key-${key}`, expected: 0, events }] }, cause);
  const recorded = await store.read(`key-${key}`);
  const positionOf = (type: string) => recorded.find((event) => event.type === type)?.position;
  const use = { vault: 'v', key, version, principal, permissions: [], operations: [] };
  const disabled = await findOrigin(store, {
    ...use,
    reason: 'KEY_DISABLED',
    state: await keyAt(store, key, 2),
    seen: { vaultVersion: 1, keyVersion: 2 },
  });
  assert.equal(disabled?.position, positionOf('KeyVersionDisabled'));
  const expired = await findOrigin(store, {
    ...use,
    reason: 'KEY_EXPIRED',
    state: await keyAt(store, key, 4),
    seen: { vaultVersion: 1, keyVersion: 4 },
  });
  assert.equal(expired?.position, positionOf('KeyVersionExpired'));
});

/** A version created at 1, valid at first, with these later events. @returns `since` of the refusal, and the time of the commit that caused it */
const datesOrigin = async (
  reason: 'KEY_EXPIRED' | 'KEY_NOT_YET_VALID',
  made: { readonly notBefore?: number; readonly expiresAt?: number },
  ...later: readonly { readonly type: string; readonly at: number; readonly [field: string]: unknown }[]
) => {
  const store = memoryStore({ clock: virtualClock() });
  const version = 'a'.repeat(32);
  const key = 'vaults/v/keys/k';
  const first = { type: 'KeyVersionCreated', bits: 2048, n: 'n', operations: [], enabled: true, ...made, at: 1 };
  const events = [first, ...later];
  for (const [expected, { type, ...data }] of events.entries()) {
    const traceparent = `00-${String(data.at).padStart(32, '0')}-${'cd'.repeat(8)}-01`;
    const appended = [{ type, schema: 1, data: { version, ...data } }];
    await store.commit({ appends: [{ stream: `key-${key}`, expected, events: appended }] }, { ...cause, traceparent });
  }
  const seen = { vaultVersion: 1, keyVersion: events.length };
  const state = await keyAt(store, key, events.length);
  const use = { reason, vault: 'v', key, state, version, principal, permissions: [], operations: [], seen };
  const origin = await findOrigin(store, use);
  const stored = await store.read(`key-${key}`);
  assert.equal(origin?.position, stored.at(-1)?.position, 'the number is that of the last');
  return { since: origin?.since, committedAt: Number(traceIdOf(origin?.traceparent)) };
};
const datesSet = (at: number, dates: { readonly notBefore?: number; readonly expiresAt?: number }) => ({
  type: 'KeyVersionDatesSet',
  ...dates,
  at,
});
const ended = (expiresAt: number, at = expiresAt) => ({ type: 'KeyVersionExpired', expiresAt, at });

test('KV-13, G10: a new expiry date for an expired version changes neither since nor the cause of the loss', async () => {
  const origin = (...later: Parameters<typeof datesOrigin>[2][]) =>
    datesOrigin('KEY_EXPIRED', { expiresAt: 10 }, ...later);
  assert.deepEqual(await origin(ended(10)), { since: 10, committedAt: 10 });
  assert.deepEqual(await origin(ended(10, 12)), { since: 10, committedAt: 12 }, 'recorded late');
  assert.deepEqual(await origin(ended(10), datesSet(20, { expiresAt: 15 })), { since: 10, committedAt: 10 });
  assert.deepEqual(await origin(ended(10), datesSet(20, { expiresAt: 3 })), { since: 10, committedAt: 10 });
  // It expired before the expiry was recorded.
  assert.deepEqual(await origin(datesSet(20, { expiresAt: 15 })), { since: 10, committedAt: 1 });
  assert.deepEqual(await origin(datesSet(5, { expiresAt: 3 })), { since: 5, committedAt: 5 }, 'lost when it was set');
  // Access was restored in between.
  assert.deepEqual(await origin(ended(10), datesSet(20, { expiresAt: 30 }), datesSet(25, { expiresAt: 3 })), {
    since: 25,
    committedAt: 25,
  });
  assert.deepEqual(await origin(ended(10), datesSet(20, {}), datesSet(25, { expiresAt: 30 }), ended(30)), {
    since: 30,
    committedAt: 30,
  });
});

test('KV-13, G10: a start of validity that is postponed before it came changes neither since nor the cause of the loss', async () => {
  const origin = (...later: Parameters<typeof datesOrigin>[2][]) => datesOrigin('KEY_NOT_YET_VALID', {}, ...later);
  const first = datesSet(5, { notBefore: 50 });
  assert.deepEqual(await origin(first), { since: 5, committedAt: 5 });
  assert.deepEqual(await origin(first, datesSet(20, { notBefore: 90 })), { since: 5, committedAt: 5 });
  assert.deepEqual(await origin(first, datesSet(20, {}), datesSet(25, { notBefore: 90 })), {
    since: 25,
    committedAt: 25,
  });
  assert.deepEqual(await origin(first, datesSet(60, { notBefore: 90 })), { since: 60, committedAt: 60 }, 'it had come');
});
