import assert from 'node:assert/strict';
import { test } from 'node:test';
import { armIdOfName, innerName, innerNameOfId, textForClients } from './resource-names.ts';
import { testNames as names, testSubscription as uuid } from './test-names.ts';

const version = '0123456789abcdef0123456789abcdef';

test("ids are matched in any case and with double slashes; Interlock's names are in lower case", () => {
  const name = 'subscriptions/dev/resourceGroups/g1/disks/d1';
  assert.equal(innerName(names, { subscription: uuid, group: 'G1', name: 'D1' }, 'disks'), name);
  const id = `/SUBSCRIPTIONS/${uuid}//resourcegroups/G1/providers/microsoft.compute/DISKS/D1/`;
  assert.equal(innerNameOfId(names, id, ['snapshots', 'disks'], 'f'), name);
  assert.equal(
    armIdOfName(names, name),
    `/subscriptions/${uuid}/resourceGroups/g1/providers/Microsoft.Compute/disks/d1`,
  );
});

test('an id of another type, or no id, is refused with the field and the types that it may have', () => {
  for (const id of ['d1', '', '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i']) {
    assert.throws(
      () => innerNameOfId(names, id, ['disks'], 'the.field'),
      ({ status, code, message, details }) => {
        assert.deepEqual([status, code, details[0].target], [400, 'LinkedInvalidPropertyId', 'the.field']);
        return message.includes('Microsoft.Compute/disks');
      },
    );
  }
});

test('a message of a service names keys by their URL and resources by their ARM id', () => {
  const text = `key 'vaults/kv1/keys/k1/versions/${version}' of 'subscriptions/dev/resourceGroups/g1/diskEncryptionSets/des-1'.`;
  assert.equal(
    textForClients(names, text),
    `key 'https://kv1.vault.interlock.localhost:8443/keys/k1/${version}' of '/subscriptions/${uuid}/resourceGroups/g1/providers/Microsoft.Compute/diskEncryptionSets/des-1'.`,
  );
  const shown = textForClients(names, text);
  assert.equal(textForClients(names, shown), shown, 'a text for clients stays as it is');
});
