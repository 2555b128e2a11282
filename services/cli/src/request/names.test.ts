import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../problems.ts';
import { fullName, parentAndId, shortName } from './names.ts';

const defaults = { subscription: 'subscriptions/local', group: 'g' };
const version = '0123456789abcdef0123456789abcdef';

const cases = [
  ['vault', 'kv1', 'vaults/kv1'],
  ['key', 'kv1/k1', 'vaults/kv1/keys/k1'],
  ['keyVersion', `kv1/k1/${version}`, `vaults/kv1/keys/k1/versions/${version}`],
  ['keyOrVersion', 'kv1/k1', 'vaults/kv1/keys/k1'],
  ['keyOrVersion', `kv1/k1/${version}`, `vaults/kv1/keys/k1/versions/${version}`],
  ['disk', 'd1', 'subscriptions/local/resourceGroups/g/disks/d1'],
  ['disk', 'other/d1', 'subscriptions/local/resourceGroups/other/disks/d1'],
  ['disk', 's/other/d1', 'subscriptions/s/resourceGroups/other/disks/d1'],
  ['resourceGroup', 'g2', 'subscriptions/local/resourceGroups/g2'],
  ['resourceGroup', 's/g2', 'subscriptions/s/resourceGroups/g2'],
  ['container', 'subscriptions/s', 'subscriptions/s'],
  ['container', 'g2', 'subscriptions/local/resourceGroups/g2'],
  ['role', 'reader', 'roles/reader'],
  ['scope', 'group', 'subscriptions/local/resourceGroups/g'],
  ['scope', '/', '/'],
  ['scope', 'tenants/local', 'tenants/local'],
  ['scope', 'subscriptions/s2', 'subscriptions/s2'],
] as const;

for (const [kind, short, full] of cases) {
  test(`${kind} ${short} expands to ${full}, and a full name stays as it is`, () => {
    assert.equal(fullName(kind, short, defaults, '<x>'), full);
    assert.equal(fullName(kind, full, defaults, '<x>'), full);
  });
}

test('an invalid name is refused with the expected form', () => {
  const refused = [
    ['key', 'k1', /it has 1 of 2 parts; write \{vault\}\/\{key\} or vaults/],
    ['disk', 'a/b/c/d', /too many/],
    ['disk', 'd 1', /must look like/],
    ['vault', '', /empty/],
    ['keyVersion', 'kv1/k1/abc', /must look like/],
    ['vault', 'kv_1', /\{vault\} must be 3 to 24 letters/],
    ['key', 'vaults/kv1', /begins like a full name of another kind/],
    ['disk', 'disks/d1', /begins like a full name of another kind/],
    ['scope', 'g', /is not a scope/],
    ['principal', 'alice', /must look like/],
  ] as const;
  for (const [kind, text, message] of refused) {
    assert.throws(
      () => fullName(kind, text, defaults, '<x>'),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

test('without a default a short name says which default is missing', () => {
  const none = { subscription: undefined, group: undefined };
  assert.throws(
    () => fullName('disk', 'd1', none, '<disk>'),
    /no default resource group.*; write \{group\}\/d1 or subs/,
  );
  assert.throws(() => fullName('disk', 'g/d1', none, '<disk>'), /no default subscription/);
});

test('a shortened name expands to the same full name', () => {
  for (const [kind, , full] of cases.filter(([kind]) => ['vault', 'key', 'keyVersion', 'disk'].includes(kind))) {
    assert.equal(fullName(kind, shortName(full, defaults), defaults, '<x>'), full);
  }
  assert.equal(shortName('not a name', defaults), 'not a name');
});

test('a name is split into its parent and its id', () => {
  assert.deepEqual(parentAndId('vaults/kv1/keys/k1'), { parent: 'vaults/kv1', id: 'k1' });
});
