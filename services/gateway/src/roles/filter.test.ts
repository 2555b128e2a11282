import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roleFilterOf } from './filter.ts';

test('a filter of roles selects by principal, by name, and at the scope alone', () => {
  assert.deepEqual(roleFilterOf(undefined), { isAtScope: false });
  assert.deepEqual(roleFilterOf("atScope() and assignedTo('A')"), { isAtScope: true, principalId: 'a' });
  assert.deepEqual(roleFilterOf("principalId eq 'B'"), { isAtScope: false, principalId: 'b' });
  assert.deepEqual(roleFilterOf("roleName eq 'Key Vault Reader'"), { isAtScope: false, roleName: 'key vault reader' });
});

test('an unknown term is refused: without it, more would be listed than the client wants', () => {
  for (const filter of ['principalId eq b', "principalId ne 'b'", "color eq 'red'", 'atScope('])
    assert.throws(() => roleFilterOf(filter), { status: 400, code: 'InvalidFilterInQueryString' }, filter);
});
