import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyForEncryption } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { fakeKey, urlOf, versionOf } from '../testing/test-neighbour-keys.ts';
import { checkKey, checkKeyUrl, type KeyRequest } from './key-rules.ts';

const now = 1_000_000;
const request: KeyRequest = {
  location: 'West Europe',
  subscription: 'subscriptions/s1',
  isOwnTenant: true,
  sourceVault: '',
  requirePurgeProtection: true,
};
const check = (key: Partial<KeyForEncryption> = {}, wanted: Partial<KeyRequest> = {}) =>
  checkKey(now, fakeKey('1', key).resolved, { ...request, ...wanted });

test('CMK-30: a key URL without a version, or of another form, is refused', () => {
  assert.equal(checkKeyUrl(urlOf('1')), urlOf('1'));
  for (const keyUrl of ['https://kv1.vault.test/keys/k1', 'https://kv1.vault.test/keys/k1/']) {
    assert.throws(() => checkKeyUrl(keyUrl), { reason: 'KEY_URL_WITHOUT_VERSION' });
  }
  for (const keyUrl of ['', 'k1', 'https://kv1.vault.test/secrets/k1/1', 'https://kv1.vault.test/keys/k1/LATEST']) {
    assert.throws(() => checkKeyUrl(keyUrl), {
      reason: 'KEY_URL_INVALID',
      metadata: { field: 'key_url', value: keyUrl },
    });
  }
});

test('CMK-20: only RSA keys of 2048, 3072 or 4096 bits are accepted', () => {
  for (const keySizeBits of [2048, 3072, 4096]) check({ keySizeBits });
  assert.throws(() => check({ keySizeBits: 1024 }), { reason: 'KEY_TYPE_NOT_SUPPORTED' });
  assert.throws(() => check({ keyType: 'EC' }), { reason: 'KEY_TYPE_NOT_SUPPORTED' });
});

test('CMK-21: a hardware-protected key is accepted from a premium vault only', () => {
  check({ keyType: 'RSA-HSM', vaultSku: 'PREMIUM' });
  assert.throws(() => check({ keyType: 'RSA-HSM' }), { reason: 'KEY_TYPE_NOT_SUPPORTED' });
});

test('CMK-22: the vault must have purge protection, unless a setting turns this rule off', () => {
  assert.throws(() => check({ purgeProtectionEnabled: false }), { reason: 'PURGE_PROTECTION_REQUIRED' });
  check({ purgeProtectionEnabled: false }, { requirePurgeProtection: false });
});

test('CMK-23: set and vault must be in the same region, whatever its spelling', () => {
  check({ location: 'westeurope' });
  assert.throws(() => check({ location: 'northeurope' }), { reason: 'LOCATION_MISMATCH' });
});

test('CMK-24: a vault in another subscription of the tenant is accepted, and then no source vault is named', () => {
  const elsewhere = { subscription: 'subscriptions/s2' };
  assert.deepEqual(check(elsewhere), { keyVersion: versionOf('1'), keyUrl: urlOf('1'), sourceVault: '' });
  assert.throws(() => check(elsewhere, { sourceVault: 'vaults/kv1' }), { reason: 'SOURCE_VAULT_NOT_ALLOWED' });
  assert.throws(() => check(elsewhere, { isOwnTenant: false }), { reason: 'TENANT_MISMATCH' });
  assert.equal(check({}, { sourceVault: 'vaults/kv1' }).sourceVault, 'vaults/kv1');
  assert.throws(() => check({}, { sourceVault: 'vaults/kv2' }), { reason: 'SOURCE_VAULT_MISMATCH' });
});

test('CMK-87: a key that cannot be used now is refused with the reason', () => {
  assert.throws(() => check({ enabled: false }), { reason: 'KEY_DISABLED' });
  assert.throws(() => check({ notBefore: new Date(now + 1) }), { reason: 'KEY_NOT_YET_VALID' });
  assert.throws(() => check({ expireTime: new Date(now) }), { reason: 'KEY_EXPIRED' });
  check({ notBefore: new Date(now), expireTime: new Date(now + 1) });
  assert.throws(() => check({ keyOperations: ['WRAP_KEY'] }), { reason: 'KEY_OPERATION_NOT_ALLOWED' });
});
