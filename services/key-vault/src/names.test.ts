import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyUrls, parseKeyOrVersion, parseVersion } from './names.ts';

const version = '0123456789abcdef0123456789abcdef';
const urls = keyUrls('vault.interlock.localhost');

test('KV-01: names and URLs are read whatever their case, and written in lower case', () => {
  assert.deepEqual(
    parseVersion(`vaults/KV1/keys/MyKey/versions/${version.toUpperCase()}`.replace('VAULTS', 'vaults'), 'name'),
    {
      vault: 'kv1',
      key: 'vaults/kv1/keys/mykey',
      version,
    },
  );
  const url = urls.version('vaults/kv1/keys/mykey', version);
  assert.equal(url, `https://kv1.vault.interlock.localhost/keys/mykey/${version}`);
  assert.deepEqual(urls.parse(url.toUpperCase()), { vault: 'kv1', key: 'vaults/kv1/keys/mykey', version });
});

test('KV-04: a key name without a version is accepted only where the version is optional', () => {
  assert.equal(parseKeyOrVersion('vaults/kv1/keys/k', 'name').version, undefined);
  assert.throws(() => parseVersion('vaults/kv1/keys/k', 'name'), { reason: 'NAME_INVALID' });
});

test('KV-02: ids that break the naming rules are refused', () => {
  for (const name of [
    'vaults/1v/keys/k',
    'vaults/ab/keys/k',
    'vaults/kv1/keys/k_1',
    `vaults/kv1/keys/${'k'.repeat(128)}`,
  ]) {
    assert.throws(() => parseKeyOrVersion(name, 'name'), { reason: 'NAME_INVALID' }, name);
  }
});

test('CMK-30: a URL without version and a URL of another host are refused with different reasons', () => {
  assert.throws(() => urls.parse('https://kv1.vault.interlock.localhost/keys/k'), {
    reason: 'KEY_URL_WITHOUT_VERSION',
  });
  for (const url of [
    `https://kv1.vault.azure.net/keys/k/${version}`,
    `http://kv1.vault.interlock.localhost/keys/k/${version}`,
    `https://kv1.vault.interlock.localhost/keys/k/${version}0`,
    `https://kv1Xvault.interlock.localhost/keys/k/${version}`,
    '',
  ]) {
    assert.throws(() => urls.parse(url), { reason: 'KEY_URL_INVALID' }, url);
  }
});
