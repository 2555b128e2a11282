import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { sectorSize } from './sector.ts';
import { readAround } from './unreadable-sectors.ts';

const content = new Uint8Array(randomBytes(2 * sectorSize));
const failure = (code: string): Error => Object.assign(new Error('read failed'), { code });

/** Reads `content`, except for sectors that fail. */
const readExcept =
  (failing: readonly number[], code = 'EIO') =>
  (offset: number, length: number): Uint8Array => {
    const isHit = failing.some((sector) => sector * sectorSize < offset + length && (sector + 1) * sectorSize > offset);
    if (isHit) throw failure(code);
    return content.slice(offset, offset + length);
  };

test('G5: if one header slot is unreadable, the other slot is read', () => {
  assert.deepEqual(readAround(content.length, readExcept([])), content);
  for (const [unreadable, readable] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const bytes = readAround(content.length, readExcept([unreadable]));
    const sector = (of: Uint8Array, n: number) => of.subarray(n * sectorSize, (n + 1) * sectorSize);
    assert.deepEqual(sector(bytes, readable), sector(content, readable));
    assert.ok(sector(bytes, unreadable).every((byte) => byte === 0xff));
  }
});

test('a read fails if no sector is readable, or if it fails with another error than EIO', () => {
  assert.throws(() => readAround(content.length, readExcept([0, 1])), { code: 'EIO' });
  assert.throws(() => readAround(content.length, readExcept([0], 'EBADF')), { code: 'EBADF' });
});
