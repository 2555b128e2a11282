import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesOf, deltaOf } from './what-if.ts';

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

test('a prediction reads a few resources at a time, however many the template has', async () => {
  let [reading, most] = [0, 0];
  const dispatch = {
    attach: () => {},
    send: async () => {
      reading += 1;
      most = Math.max(most, reading);
      await new Promise(setImmediate);
      reading -= 1;
      return { status: 404, body: undefined };
    },
  };
  const resources = Array.from({ length: 95 }, (_, n) => {
    const name = `d${n}`;
    return { id: `/x/${name}`, name, type: 'Microsoft.Compute/disks', apiVersion: '1', body: {} };
  });
  const changes = await changesOf(resources, dispatch, {});
  assert.deepEqual(
    changes.map(({ resourceId }) => resourceId),
    resources.map(({ id }) => id),
  );
  assert.ok(most <= 10, `${most} at the same time`);
});
