import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differingFields } from './request-difference.ts';

const request = { location: 'w', sku: 'ultra', sizeGib: 4, encryption: { type: 'platform' }, source: '' };
const between = (one: object, other: object): readonly string[] =>
  differingFields(JSON.stringify(one), JSON.stringify(other));

test('the difference of two requests lists the fields that differ, by their names in the request', () => {
  assert.deepEqual(between(request, { ...request }), []);
  assert.deepEqual(between(request, { ...request, sizeGib: 8, encryption: { type: 'customer', set: 's' } }), [
    'size_gib',
    'encryption',
  ]);
});

test('a comparison with a copy request ignores the fields that the copy takes from its source', () => {
  const copy = { ...request, sizeGib: 0, encryption: null, source: 'd1' };
  assert.deepEqual(between(request, copy), ['source']);
  assert.deepEqual(between({ ...copy, location: 'n' }, { ...copy, source: 'd2' }), ['location', 'source']);
  assert.deepEqual(between(copy, { ...copy, sizeGib: 8 }), ['size_gib']);
});

test('snapshot requests for different disks of the same name differ in source_disk', () => {
  const snapshot = { sourceDisk: 'd1', sourceUniqueId: 'u1', incremental: true, asked: null };
  assert.deepEqual(between(snapshot, { ...snapshot, sourceUniqueId: 'u2' }), ['source_disk']);
  assert.deepEqual(between(snapshot, { ...snapshot, sourceDisk: 'd2', sourceUniqueId: 'u2' }), ['source_disk']);
  assert.deepEqual(between(snapshot, { ...snapshot, asked: { type: 'customer' } }), ['encryption']);
});
