import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deltaOf } from './what-if.ts';

test('a delta names the members that a deployment changes, at any depth, and no others', () => {
  const before = { location: 'westeurope', tags: { a: '1' }, properties: { diskSizeGB: 4, encryption: { type: 'X' } } };
  const after = { location: 'West Europe', tags: { a: '1' }, properties: { diskSizeGB: 8, encryption: { type: 'x' } } };
  assert.deepEqual(deltaOf(before, after), [
    {
      path: 'properties',
      propertyChangeType: 'Modify',
      before: before.properties,
      after: after.properties,
      children: [{ path: 'diskSizeGB', propertyChangeType: 'Modify', before: 4, after: 8 }],
    },
  ]);
  assert.deepEqual(deltaOf(before, { zones: ['1'] }), [{ path: 'zones', propertyChangeType: 'Create', after: ['1'] }]);
  assert.deepEqual(deltaOf(before, { tags: { a: '1' } }), []);
});
