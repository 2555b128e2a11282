import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fnv1a32, partitionOf, serviceOf, subjectOf } from './subjects.ts';

test('the hash is FNV-1a with its published vectors: changing it would lose the order of streams', () => {
  assert.equal(fnv1a32(''), 0x811c9dc5);
  assert.equal(fnv1a32('a'), 0xe40c292c);
  assert.equal(fnv1a32('foobar'), 0xbf9cf968);
  // Other characters are hashed by their UTF-8 bytes.
  const byHand = [0x61, 0xc3, 0xbc, 0xe2, 0x82, 0xac].reduce(
    (hash, byte) => Math.imul(hash ^ byte, 0x01000193),
    0x811c9dc5,
  );
  assert.equal(fnv1a32('aü€'), byHand >>> 0);
});

test('streams are spread over all partitions, and a stream always has the same one', () => {
  const counts = [0, 0, 0, 0];
  for (let index = 0; index < 1_000; index += 1) {
    const partition = partitionOf(`disk-${index}`, 4);
    assert.equal(partitionOf(`disk-${index}`, 4), partition);
    counts[partition] = (counts[partition] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 150, `uneven: ${counts}`);
});

test('serviceOf returns the service of a subject, and throws for any other text', () => {
  assert.equal(subjectOf('key-vault', 3), 'interlock.key-vault.3');
  assert.equal(serviceOf('interlock.key-vault.3'), 'key-vault');
  assert.throws(() => serviceOf('key-vault.3'), /not a subject/);
});
