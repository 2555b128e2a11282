import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { seededRandom, virtualClock } from '@interlock/runtime';
import { findOrigin } from './origin.ts';

const cause = { correlationId: 'c', causationId: 'c', caller: 'principals/owner' };
const principal = 'principals/a';

/** A vault by access policies without any for the principal, which is switched to roles afterwards. */
const switchedVault = async () => {
  const store = memoryStore({ clock: virtualClock(), random: seededRandom(1) });
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

test('G7: a refusal goes back to what it saw, never to what was committed while it was answered', async () => {
  const store = await switchedVault();
  const recorded = await store.read('vault-v');
  const positionOf = (type: string) => recorded.find((event) => event.type === type)?.position;
  const use = {
    reason: 'ACCESS_DENIED',
    vault: 'v',
    key: 'vaults/v/keys/k',
    principal,
    permissions: ['get'] as const,
    operations: [],
  };
  const seenBefore = await findOrigin(store, { ...use, seen: { vaultVersion: 2, keyVersion: 1 } });
  assert.equal(seenBefore?.position, positionOf('AccessPolicyRemoved'));
  const seenAfter = await findOrigin(store, { ...use, seen: { vaultVersion: 3, keyVersion: 1 } });
  assert.equal(seenAfter?.position, positionOf('PermissionModelSet'));
});

test('G10: an end that was told while a refusal for another reason was answered is news to it, also where it is enabled again', async () => {
  const store = memoryStore({ clock: virtualClock(), random: seededRandom(1) });
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
    seen: { vaultVersion: 1, keyVersion: 2 },
  });
  assert.equal(disabled?.position, positionOf('KeyVersionDisabled'));
  // What the request itself told is its own number.
  const expired = await findOrigin(store, { ...use, reason: 'KEY_EXPIRED', seen: { vaultVersion: 1, keyVersion: 3 } });
  assert.equal(expired?.position, positionOf('KeyVersionExpired'));
});
