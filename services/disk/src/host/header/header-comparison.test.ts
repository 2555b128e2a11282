import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type DiskHeader, headerDigest } from './disk-header-format.ts';
import { compareHeader, type ExpectedHeader } from './header-comparison.ts';

const known: DiskHeader = {
  diskId: 'disk',
  dekId: 'dek',
  size: 2 ** 30,
  cipher: 'AES-256-XTS-4096',
  sequence: 4,
  set: 'sets/a',
  generation: 2,
  hostEpoch: 3,
  wrap: { keyVersion: 'one', algorithm: 'RSA-OAEP-256', wrapped: new Uint8Array(randomBytes(8)) },
};
const expected: ExpectedHeader = {
  volume: { dekId: 'dek', dekDiskId: 'disk', headerSequence: 4, headerDigest: headerDigest(known) },
  sets: ['sets/a'],
};
const found = (change: Partial<DiskHeader>, of = expected) => compareHeader(of, { ...known, ...change });

test('CMK-88: the header that the store knows is equal, whatever its host epoch', () => {
  assert.equal(found({}), 'equal');
  assert.equal(found({ hostEpoch: 9 }), 'equal');
});

test('CMK-88: a later header is ahead, also under another key version of the set', () => {
  const wrap = { ...known.wrap, keyVersion: 'two' };
  assert.equal(found({ sequence: 5, generation: 3, wrap }), 'ahead');
  assert.equal(found({ sequence: 9, size: 2 ** 31 }), 'ahead');
});

test('G1: a later header of another set is ahead only where a change of encryption moves the disk to it', () => {
  assert.equal(found({ sequence: 5, set: 'sets/b' }), 'forged');
  assert.equal(found({ sequence: 5, set: 'sets/b' }, { ...expected, sets: ['sets/a', 'sets/b'] }), 'ahead');
  assert.equal(found({ sequence: 5, set: '' }), 'forged');
});

test('G6: an earlier header is behind, whatever its set and size', () => {
  assert.equal(found({ sequence: 3 }), 'behind');
  assert.equal(found({ sequence: 0, set: 'sets/b', size: 2 ** 40 }), 'behind');
});

test('CMK-13: other content under the sequence of the store is forged, and so is the header of another DEK or disk', () => {
  const { wrap } = known;
  for (const change of [
    { size: 2 ** 31 },
    { generation: 3 },
    { set: 'sets/b' },
    { wrap: { ...wrap, keyVersion: 'two' } },
    { wrap: { ...wrap, algorithm: 'RSA1_5' } },
    { wrap: { ...wrap, wrapped: new Uint8Array(8) } },
    { dekId: 'another' },
    { diskId: 'another' },
    { dekId: 'another', sequence: 3 },
    { diskId: 'another', sequence: 5 },
  ]) {
    assert.equal(found(change), 'forged', JSON.stringify(change));
  }
});
