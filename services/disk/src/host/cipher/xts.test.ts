import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import { openXts } from './xts.ts';
import { createXtsMask } from './xts-mask.ts';

const mask = createXtsMask();

/**
 * IEEE 1619-2007, annex B, vectors 10 to 14: AES-256-XTS, the plaintext twice 00…ff, the first 32 bytes of each
 * ciphertext. The vectors are 512 bytes long; blocks of XTS depend only on their place, so they are also how a sector
 * of 4 KiB begins.
 */
const ieeeKey = Buffer.from(
  '27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592',
  'hex',
);
const ieeeVectors = [
  [0xff, '1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b'],
  [0xffff, '77a31251618a15e6b92d1d66dffe7b50b50bad552305ba0217a610688eff7e11'],
  [0xff_ffff, 'e387aaa58ba483afa7e8eb469778317ecf4cf573aa9d4eac23f2cdf914e4e200'],
  [0xffff_ffff, 'bf53d2dade78e822a4d949a9bc6766b01b06a8ef70d26748c6a7fc36d80ae4c5'],
  [0xff_ffff_ffff, '64497e5a831e4a932c09be3e5393376daa599548b816031d224bbf50a818ed23'],
] as const;

for (const [name, given] of [
  ['masked', mask],
  ['OpenSSL', undefined],
] as const) {
  test(`the cipher matches the IEEE 1619 vectors for AES-256: ${name} (CMK-12)`, () => {
    const xts = openXts(ieeeKey, given);
    const plain = Uint8Array.from({ length: sectorSize }, (_, index) => index % 256);
    for (const [sector, expected] of ieeeVectors) {
      const sealed = Buffer.alloc(sectorSize);
      xts.encrypt(sector, plain, sealed);
      assert.equal(sealed.toString('hex', 0, 32), expected);
      xts.decrypt(sector, sealed, sealed);
      assert.deepEqual(new Uint8Array(sealed), plain);
    }
  });

  test(`a destroyed cipher refuses: ${name}`, () => {
    const xts = openXts(randomBytes(64), given);
    const sector = Buffer.alloc(sectorSize);
    xts.encrypt(0, sector, sector);
    xts.destroy();
    xts.destroy();
    for (const run of [xts.encrypt, xts.decrypt]) {
      assert.throws(
        () => run(0, sector, sector),
        (cause) => cause instanceof Rejection && cause.reason === 'DEK_DROPPED',
      );
    }
  });
}

test('masked XTS and OpenSSL agree on random keys, contents, positions and lengths, also beyond one piece', () => {
  for (const sectors of [1, 2, 3, 7, 16, 64, 255, 256, 257, 600]) {
    const key = randomBytes(64);
    const masked = openXts(key, mask);
    const reference = openXts(key, undefined);
    for (const sector of [0, 1, 0xffff_ffff, 2 ** 40 + 5]) {
      const plain = randomBytes(sectors * sectorSize);
      const [fast, slow] = [Buffer.alloc(plain.length), Buffer.alloc(plain.length)];
      masked.encrypt(sector, plain, fast);
      reference.encrypt(sector, plain, slow);
      assert.ok(fast.equals(slow), `${sectors} sectors from ${sector}`);
      masked.decrypt(sector, slow, fast);
      assert.ok(fast.equals(plain));
    }
  }
});

test('the ciphertext of a sector depends on its number and not on its neighbours', () => {
  const key = randomBytes(64);
  const xts = openXts(key, mask);
  const sealed = Buffer.alloc(pieceSize);
  xts.encrypt(10, Buffer.alloc(pieceSize), sealed);
  const sectors = new Set(Array.from({ length: 256 }, (_, at) => sealed.toString('hex', at * 4096, at * 4096 + 16)));
  assert.equal(sectors.size, 256);
  const tweak = Buffer.alloc(16);
  tweak.writeUInt32LE(42);
  const single = createDecipheriv('aes-256-xts', key, tweak).update(sealed.subarray(32 * 4096, 33 * 4096));
  assert.deepEqual(single, Buffer.alloc(4096));
});

test('encryption does not change its source; equal key halves and partial sectors are refused', () => {
  const xts = openXts(randomBytes(64), mask);
  const plain = randomBytes(2 * sectorSize);
  const copy = Buffer.from(plain);
  xts.encrypt(0, plain, Buffer.alloc(plain.length));
  assert.deepEqual(plain, copy);
  assert.throws(() => openXts(Buffer.alloc(64, 7), mask), /different/);
  assert.throws(() => openXts(randomBytes(32), mask), /two different/);
  assert.throws(() => xts.encrypt(0, Buffer.alloc(100), Buffer.alloc(100)), /whole sectors/);
  assert.throws(() => xts.encrypt(0, Buffer.alloc(4096), Buffer.alloc(8192)), /whole sectors/);
});

test('destroying leaves no plaintext or tweak in the scratch of the mask', () => {
  const own = createXtsMask();
  const xts = openXts(randomBytes(64), own);
  xts.encrypt(0, randomBytes(pieceSize), Buffer.alloc(pieceSize));
  assert.ok(own.data.some((byte) => byte !== 0) && own.tweaks.some((byte) => byte !== 0));
  xts.destroy();
  assert.ok(own.data.every((byte) => byte === 0) && own.tweaks.every((byte) => byte === 0));
});

test('many runs in one call give the same result as each run alone, also across windows', () => {
  const xts = openXts(randomBytes(64), mask);
  const lengths = [1, 3, 16, 1, 40, 2, 1];
  const runs = lengths.map((sectors, n) => {
    const source = randomBytes(sectors * sectorSize);
    return { sector: n === 3 ? 2 ** 40 : 1_000 * n, source, target: Buffer.alloc(source.length) };
  });
  xts.encryptAll(runs);
  for (const { sector, source, target } of runs) {
    const alone = Buffer.alloc(source.length);
    xts.encrypt(sector, source, alone);
    assert.deepEqual(target, alone);
  }
  xts.decryptAll(runs.map(({ sector, target }) => ({ sector, source: target, target })));
  for (const { source, target } of runs) assert.deepEqual(target, source);
});
