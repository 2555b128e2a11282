import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allows, roleNamed } from './roles.ts';

const can = (role: string, action: string): boolean => {
  const found = roleNamed(`roles/${role}`);
  assert.ok(found, role);
  return allows(found, action);
};

test('KV-73, KV-74: owners and contributors manage vaults and reach no key', () => {
  for (const role of ['owner', 'contributor']) {
    assert.equal(can(role, 'keyVault/vaults/write'), true);
    assert.equal(can(role, 'keyVault/keys/wrapKey'), false);
  }
  assert.equal(can('owner', 'identity/roleAssignments/write'), true);
  assert.equal(can('contributor', 'identity/roleAssignments/write'), false);
});

test('CMK-25, CMK-26: the encryption user has get, wrap and unwrap and nothing else', () => {
  const granted = ['get', 'wrapKey', 'unwrapKey', 'list', 'decrypt', 'delete', 'update'].filter((op) =>
    can('keyVaultCryptoServiceEncryptionUser', `keyVault/keys/${op}`),
  );
  assert.deepEqual(granted, ['get', 'wrapKey', 'unwrapKey']);
});

test('operators run machines and read', () => {
  assert.equal(can('operator', 'compute/virtualMachines/start'), true);
  assert.equal(can('operator', 'compute/disks/read'), true);
  assert.equal(can('operator', 'compute/disks/write'), false);
  assert.equal(can('reader', 'compute/virtualMachines/start'), false);
});
