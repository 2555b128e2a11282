import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evolve as evolveVault, exists, initial as initialVault } from '../vault/vault.ts';
import type { KeyEvent } from './events.ts';
import { evolve, initial } from './key.ts';
import { isBoundByDates, obstacleOf } from './usability.ts';

const at = 1_000_000;
const version = '1'.repeat(32);
const vaultThat = (isDeleted: boolean) => {
  const made = evolveVault(initialVault, {
    type: 'VaultCreated',
    resourceGroup: 'subscriptions/s/resourceGroups/g',
    tenant: 'tenants/t',
    location: 'westeurope',
    sku: 'standard',
    permissionModel: 'access_policy',
    accessPolicies: {},
    retentionDays: 90,
    purgeProtected: false,
    at,
  });
  const vault = isDeleted ? evolveVault(made, { type: 'VaultDeleted', purgeAt: at + 90, at: at + 3 }) : made;
  assert.ok(exists(vault));
  return vault;
};
const created: KeyEvent = {
  type: 'KeyVersionCreated',
  requestId: 'r',
  digest: 'd',
  version,
  materialId: 'm',
  bits: 2048,
  n: 'n',
  e: 'e',
  origin: 'generated',
  enabled: true,
  operations: [],
  tags: {},
  at,
};
const disabled: KeyEvent = { type: 'KeyVersionDisabled', version, at: at + 1 };
const ended: KeyEvent = { type: 'KeyVersionDatesSet', version, expiresAt: at + 5, at };
const early: KeyEvent = { type: 'KeyVersionDatesSet', version, notBefore: at + 50, at };
const deleted: KeyEvent = { type: 'KeyDeleted', purgeAt: at + 90, at: at + 2 };
const purged: KeyEvent = { type: 'KeyPurged', at };
const reasonAfter = (
  events: readonly KeyEvent[],
  isVaultDeleted = false,
  now = at + 10,
  isExpiryIgnored: boolean | undefined = undefined,
) =>
  obstacleOf(vaultThat(isVaultDeleted), [created, ...events].reduce(evolve, initial), version, now, isExpiryIgnored)
    ?.reason;

test('the first of several reasons is reported, in the order of precedence', () => {
  assert.equal(reasonAfter([]), undefined);
  assert.equal(reasonAfter([ended, disabled, deleted], true), 'KEY_DISABLED');
  assert.equal(reasonAfter([early, deleted], true), 'KEY_NOT_YET_VALID');
  assert.equal(reasonAfter([ended, deleted], true), 'KEY_EXPIRED');
  assert.equal(reasonAfter([deleted], true), 'KEY_DELETED');
  assert.equal(reasonAfter([deleted, purged], true), 'KEY_PURGED');
  assert.equal(reasonAfter([], true), 'VAULT_DELETED');
});

test('a version that was never made is not found, and an obstacle has the time since when it applies', () => {
  const key = [created, disabled].reduce(evolve, initial);
  assert.deepEqual(obstacleOf(vaultThat(false), key, 'f'.repeat(32), at), { reason: 'KEY_VERSION_NOT_FOUND' });
  assert.deepEqual(obstacleOf(vaultThat(false), key, version, at), { reason: 'KEY_DISABLED', since: at + 1 });
});

test('KV-13, KV-89: a version is valid from nbf until before exp; only encrypt, sign and wrapKey are bound by it', () => {
  assert.equal(reasonAfter([early], false, at + 49), 'KEY_NOT_YET_VALID');
  assert.equal(reasonAfter([early], false, at + 50), undefined);
  assert.equal(reasonAfter([ended], false, at + 4), undefined);
  assert.equal(reasonAfter([ended], false, at + 5), 'KEY_EXPIRED');
  const operations = ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey'] as const;
  assert.deepEqual(operations.filter(isBoundByDates), ['encrypt', 'sign', 'wrapKey']);
});

test('CMK-104: an ignored expiry hides no other reason, and a future start of validity still counts', () => {
  const ignoring = (events: readonly KeyEvent[], isVaultDeleted = false) =>
    reasonAfter(events, isVaultDeleted, at + 10, true);
  assert.equal(ignoring([ended]), undefined);
  assert.equal(ignoring([ended, disabled]), 'KEY_DISABLED');
  assert.equal(ignoring([early]), 'KEY_NOT_YET_VALID');
  assert.equal(ignoring([ended, deleted]), 'KEY_DELETED');
  assert.equal(ignoring([ended, deleted, purged]), 'KEY_PURGED');
  assert.equal(ignoring([ended], true), 'VAULT_DELETED');
});

test('G1: a recorded expiry counts for a replica whose clock is behind, until the dates change', () => {
  const told: KeyEvent = { type: 'KeyVersionExpired', version, expiresAt: at + 5, at: at + 5 };
  assert.equal(reasonAfter([ended], false, at + 1), undefined);
  assert.equal(reasonAfter([ended, told], false, at + 1), 'KEY_EXPIRED');
  const moved: KeyEvent = { type: 'KeyVersionDatesSet', version, expiresAt: at + 90, at: at + 6 };
  assert.equal(reasonAfter([ended, told, moved], false, at + 1), undefined);
});

test('G7: a recorded start of validity counts for a replica whose clock is behind, until the dates change', () => {
  const told: KeyEvent = { type: 'KeyVersionBegan', version, notBefore: at + 50, at: at + 50 };
  assert.equal(reasonAfter([early], false, at + 49), 'KEY_NOT_YET_VALID');
  assert.equal(reasonAfter([early, told], false, at + 49), undefined);
  const moved: KeyEvent = { type: 'KeyVersionDatesSet', version, notBefore: at + 90, at: at + 51 };
  assert.equal(reasonAfter([early, told, moved], false, at + 52), 'KEY_NOT_YET_VALID');
});
