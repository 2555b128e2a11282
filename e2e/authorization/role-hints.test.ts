import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roleWith } from '../../libs/rpc/src/help.ts';
import { allows, roleNamed } from '../../services/identity/src/role-assignment/roles.ts';
import { filesLike, textOf } from '../docs/sources.ts';

/** Every action in the code of the services. */
const actions = [
  ...new Set(
    filesLike(/^services\/[a-z-]+\/src\/.*(?<!\.test)\.ts$/).flatMap((file) => [
      ...(textOf(file).match(/(?<=')(compute|identity|keyVault|platform)\/[A-Za-z]+\/[A-Za-z]+(?=')/g) ?? []),
    ]),
  ),
  ...['get', 'list', 'wrapKey', 'unwrapKey', 'create', 'import', 'update', 'delete', 'rotate', 'purge', 'recover'].map(
    (operation) => `keyVault/keys/${operation}`,
  ),
];

test('the role that a refusal names would have been enough, whatever was missing', () => {
  assert.ok(actions.length > 30, `${actions.length} actions are found`);
  const combined = [...actions, 'keyVault/keys/get,keyVault/keys/wrapKey', 'keyVault/keys/get,keyVault/keys/purge'];
  for (const missing of combined) {
    const role = roleNamed(`roles/${roleWith(missing)}`);
    assert.ok(role, missing);
    for (const action of missing.split(',')) assert.ok(allows(role, action), `${role.name} and ${action}`);
  }
});

test('and no more than that: who lacks a look, or a start, is not made an owner', () => {
  assert.deepEqual(
    [
      'compute/disks/read',
      'compute/virtualMachines/start',
      'compute/disks/write',
      'identity/roleAssignments/write',
    ].map(roleWith),
    ['reader', 'operator', 'contributor', 'owner'],
  );
});
