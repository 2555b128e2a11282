import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedBytes } from './shared-bytes.ts';

test('marked bytes are shared by Buffer.from and not copied', () => {
  const bytes = sharedBytes(new Uint8Array([1, 2, 3]));
  const sent = Buffer.from(bytes);
  assert.equal(sent.buffer, bytes.buffer);
  assert.deepEqual([...sent], [1, 2, 3]);
});

test('sharedBytes refuses bytes that do not fill their buffer', () => {
  assert.throws(() => sharedBytes(new Uint8Array([1, 2, 3]).subarray(1)), /2 bytes do not fill their buffer of 3/);
});
