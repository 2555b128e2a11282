import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdsAction } from '@interlock/rpc';
import { allowedWith, allows, roleNamed, roles } from './roles.ts';

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
  assert.equal(can('owner', 'identity/principalSecrets/write'), true);
  assert.equal(can('contributor', 'identity/principalSecrets/write'), false);
  assert.equal(can('contributor', 'identity/principals/write'), true);
});

test('CMK-25, CMK-26: the encryption user has get, wrap and unwrap and nothing else', () => {
  const granted = ['get', 'wrapKey', 'unwrapKey', 'list', 'decrypt', 'delete', 'update'].filter((op) =>
    can('keyVaultCryptoServiceEncryptionUser', `keyVault/keys/${op}`),
  );
  assert.deepEqual(granted, ['get', 'wrapKey', 'unwrapKey']);
});

test('an operator can start machines and read disks, not write them; a reader cannot start machines', () => {
  assert.equal(can('operator', 'compute/virtualMachines/start'), true);
  assert.equal(can('operator', 'compute/disks/read'), true);
  assert.equal(can('operator', 'compute/disks/write'), false);
  assert.equal(can('reader', 'compute/virtualMachines/start'), false);
});

test('KV-70, KV-73: the patterns of one kind allow exactly the actions of that kind that the role allows', () => {
  const management = ['keyVault/vaults/write', 'compute/disks/read', 'identity/roleAssignments/write'];
  const use = ['keyVault/keys/wrapKey', 'keyVault/keys/get', 'keyVault/keys/purge'];
  for (const role of roles) {
    for (const kind of [management, use]) {
      for (const asked of kind) {
        const patterns = allowedWith(role, asked);
        for (const other of kind)
          assert.equal(holdsAction(patterns, other), allows(role, other), `${role.name} ${other}`);
      }
    }
    for (const asked of management) {
      for (const other of use)
        assert.equal(holdsAction(allowedWith(role, asked), other), false, `${role.name} ${other}`);
    }
  }
});
