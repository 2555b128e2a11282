import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterOf } from './filter.ts';

const allowed = ['resourcetype', 'name'];

test('a filter is terms with eq, joined by and; members match whatever their case', () => {
  assert.deepEqual(filterOf("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'kv1'", allowed), {
    resourcetype: 'Microsoft.KeyVault/vaults',
    name: 'kv1',
  });
  assert.deepEqual(filterOf("Name eq 'it''s'", allowed), { name: "it's" });
  assert.deepEqual(filterOf(undefined, allowed), {});
});

test('another operator or member is refused', () => {
  for (const text of ["name ne 'a'", "size eq 'a'", 'name eq a', "name eq 'a' or name eq 'b'", "substringof('a',name)"])
    assert.throws(() => filterOf(text, allowed), { status: 400, code: 'InvalidFilterInQueryString' });
});
