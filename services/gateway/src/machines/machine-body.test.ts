import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testNames as names } from '../cloud/test-names.ts';
import { keptContent, mergePatch } from './machine-body.ts';

const group = 'subscriptions/dev/resourceGroups/g1';

test('a merge patch changes what it names, at any depth, and replaces lists', () => {
  const before = { a: { b: 1, c: [1, 2] }, d: 'x' };
  assert.deepEqual(mergePatch(before, { a: { c: [3] }, e: true }), { a: { b: 1, c: [3] }, d: 'x', e: true });
});

test('secrets of an OS profile are not kept', () => {
  const osProfile = { computerName: 'one', adminPassword: 'secret', customData: 'c2VjcmV0' };
  const body = { properties: { osProfile } };
  const kept = keptContent(names, {}, body as never, { group, isPatch: false });
  assert.deepEqual(kept.properties, { osProfile: { computerName: 'one' } });
  assert.ok(!JSON.stringify(kept).includes('secret'));
});

test('a disk without a name is kept under the name in its id', () => {
  const id = '/subscriptions/dev/resourceGroups/G1/providers/Microsoft.Compute/disks/Data9';
  const body = { properties: { storageProfile: { dataDisks: [{ lun: 1, managedDisk: { id } }] } } };
  const { disks } = keptContent(names, {}, body, { group, isPatch: false });
  assert.deepEqual(disks, { [`${group}/disks/data9`]: { name: 'Data9', id } });
});
