import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergedPolicies } from './change.ts';
import { policiesOf } from './vault-body.ts';

const objectId = '22222222-2222-4222-8222-222222222222';
const principal = `principals/${objectId}`;

test('KV-72: names of permissions are compared without case; an entry without permissions on keys is left out', () => {
  assert.deepEqual(policiesOf([{ objectId, permissions: { keys: ['WRAPKEY', 'unwrapKey', 'wrapkey'] } }]), [
    { principal, keyPermissions: ['WRAP_KEY', 'UNWRAP_KEY'] },
  ]);
  assert.deepEqual(policiesOf([{ objectId, permissions: { secrets: ['get'] } }]), []);
  assert.throws(() => policiesOf([{ objectId, permissions: { keys: ['fly'] } }]), { status: 400, code: 'BadRequest' });
});

test('permissions are added to those that a principal has, and removed from them', () => {
  const before = [{ principal, keyPermissions: ['GET', 'LIST'] as const }].map((one) => ({
    ...one,
    keyPermissions: [...one.keyPermissions],
  }));
  assert.deepEqual(mergedPolicies(before, [{ principal, keyPermissions: ['GET', 'SIGN'] }], 'add'), [
    { principal, keyPermissions: ['GET', 'LIST', 'SIGN'] },
  ]);
  assert.deepEqual(mergedPolicies(before, [{ principal, keyPermissions: ['GET', 'LIST'] }], 'remove'), []);
});
