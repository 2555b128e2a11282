import assert from 'node:assert/strict';
import { test } from 'node:test';
import { vhdFooter } from './vhd-footer.ts';

const id = '00112233-4455-6677-8899-aabbccddeeff';

test('the footer of a fixed VHD has cookie, size, type, id and a checksum over all its bytes', () => {
  const size = 1024 ** 3;
  const footer = vhdFooter(size, id, Date.UTC(2000, 0, 1, 0, 1));
  assert.equal(footer.length, 512);
  assert.equal(footer.toString('latin1', 0, 8), 'conectix');
  assert.equal(footer.readUInt32BE(24), 60, 'seconds since 2000-01-01');
  assert.deepEqual([footer.readBigUInt64BE(40), footer.readBigUInt64BE(48)], [BigInt(size), BigInt(size)]);
  assert.equal(footer.readUInt32BE(60), 2);
  assert.equal(footer.toString('hex', 68, 84), id.replaceAll('-', ''));
  const checksum = footer.readUInt32BE(64);
  footer.writeUInt32BE(0, 64);
  const sum = footer.reduce((total, byte) => total + byte, 0);
  assert.equal(checksum, ~sum >>> 0);
});

test('the geometry of common sizes is that of the VHD specification', () => {
  const geometryOf = (sizeBytes: number) => {
    const footer = vhdFooter(sizeBytes, id, 0);
    return [footer.readUInt16BE(56), footer.readUInt8(58), footer.readUInt8(59)];
  };
  assert.deepEqual(geometryOf(1024 ** 3), [2_080, 16, 63]);
  assert.deepEqual(geometryOf(4 * 1024 ** 3), [8_322, 16, 63]);
  assert.deepEqual(geometryOf(1024 ** 4), [65_535, 16, 255], 'the largest that the field can hold');
});
