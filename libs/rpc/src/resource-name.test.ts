import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkId, names, subscriptionOf } from './resource-name.ts';

test('resource names are parsed and formatted', () => {
  const version = 'ab'.repeat(16);
  const name = `vaults/kv-1/keys/k/versions/${version}`;
  assert.deepEqual(names.keyVersion.parse(name, 'name'), { vault: 'kv-1', key: 'k', version });
  assert.equal(names.keyVersion.format({ vault: 'kv-1', key: 'k', version }), name);
  assert.equal(subscriptionOf('subscriptions/s/resourceGroups/g/disks/d'), 'subscriptions/s');
});

test('KV-01, KV-02, CMK-42: an invalid name is refused with its field and the expected pattern', () => {
  for (const name of [
    '',
    'vaults/',
    'vaults/1kv',
    'vaults/kv',
    'vaults/kv1/keys/k',
    'vault/kv1',
    'vaults/kv_1',
    `vaults/k${'v'.repeat(24)}`,
  ]) {
    assert.throws(() => names.vault.parse(name, 'parent'), {
      reason: 'NAME_INVALID',
      metadata: { field: 'parent', value: name, pattern: 'vaults/{vault}' },
    });
  }
  assert.throws(() => names.keyVersion.parse(`vaults/kv1/keys/k/versions/${'AB'.repeat(16)}`, 'name'), {
    reason: 'NAME_INVALID',
  });
  assert.throws(() => checkId('d'.repeat(81), 'diskEncryptionSet', 'disk_encryption_set_id'), { reason: 'ID_INVALID' });
  assert.throws(() => checkId('a.b', 'diskEncryptionSet', 'disk_encryption_set_id'), { reason: 'ID_INVALID' });
  assert.throws(() => subscriptionOf('vaults/kv1'), { reason: 'NAME_INVALID' });
});

test('the error about a malformed id names the id and its rule', () => {
  const refused = [
    [names.vault, 'vaults/kv_1', /look like vaults\/\{vault\}, not "vaults\/kv_1": \{vault\} must be 3 to 24 letters/],
    [names.key, 'vaults/kv1/keys/k_1', /: \{key\} must be 1 to 127 letters/],
    [names.principal, 'principals/me', /: \{principal\} must be a UUID/],
    [names.vault, 'vaults/kv1/keys/k', /not "vaults\/kv1\/keys\/k"$/],
    [names.disk, 'subscriptions/s/resourceGroups/g/snapshots/s1', /snapshots\/s1"$/],
  ] as const;
  for (const [kind, name, message] of refused) assert.throws(() => kind.parse(name, 'name'), { message });
});
