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

test('the role that a refusal names allows every missing action', () => {
  assert.ok(actions.length > 30, `${actions.length} actions are found`);
  const combined = [...actions, 'keyVault/keys/get,keyVault/keys/wrapKey', 'keyVault/keys/get,keyVault/keys/purge'];
  for (const missing of combined) {
    const role = roleNamed(`roles/${roleWith(missing)}`);
    assert.ok(role, missing);
    for (const action of missing.split(',')) assert.ok(allows(role, action), `${role.name} and ${action}`);
  }
});

test('the role that a refusal names is the smallest one: reader for reads, operator for starts', () => {
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
