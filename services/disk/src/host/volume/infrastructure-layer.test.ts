import assert from 'node:assert/strict';
import { createCipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { createPlatter } from '../storage/memory-block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import { layerKeyLength, withInfrastructureLayer } from './infrastructure-layer.ts';

const size = 8 * sectorSize;

test('CMK-70: the layer reads back what it wrote, stores it encrypted, and keeps holes', async () => {
  const raw = createPlatter('disk', size, systemRandom).open();
  const layered = withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(7));
  const content = new Uint8Array(3 * sectorSize);
  content.set(randomBytes(sectorSize), 0);
  content.set(content.subarray(0, sectorSize), 2 * sectorSize);
  await layered.write(sectorSize, content);
  const back = new Uint8Array(3 * sectorSize);
  await layered.read(sectorSize, back);
  assert.deepEqual(back, content);
  const below = new Uint8Array(3 * sectorSize);
  await raw.read(sectorSize, below);
  const [first, hole, third] = [0, 1, 2].map((n) => Buffer.from(below.subarray(n * sectorSize, (n + 1) * sectorSize)));
  assert.ok(first && third && hole?.every((byte) => byte === 0));
  assert.ok(!first.equals(content.subarray(0, sectorSize)));
  assert.ok(!first.equals(third), 'equal sectors have different ciphertexts');
});

test('a read with another key does not return the content', async () => {
  const raw = createPlatter('disk', size, systemRandom).open();
  const content = randomBytes(sectorSize);
  await withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(1)).write(0, content);
  const back = new Uint8Array(sectorSize);
  await withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(2)).read(0, back);
  assert.notDeepEqual(Buffer.from(back), content);
});

test('G5: a sector torn below the layer is torn at the same offset above it, and unwritten bytes are unchanged', async () => {
  const raw = createPlatter('disk', size, systemRandom).open();
  const layered = withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(7));
  const old = randomBytes(2 * sectorSize);
  const below = async (content: Uint8Array): Promise<Buffer> => {
    await layered.write(sectorSize, content);
    const bytes = Buffer.alloc(content.length);
    await raw.read(sectorSize, bytes);
    return bytes;
  };
  const oldBelow = await below(old);
  const written = Buffer.from(old);
  // One part of the second sector is written, as by a guest with sectors of 512 bytes.
  randomBytes(512).copy(written, sectorSize + 1024);
  const writtenBelow = await below(written);
  for (let cut = 512; cut < sectorSize; cut += 512) {
    const at = sectorSize + cut;
    await raw.write(sectorSize, Buffer.concat([writtenBelow.subarray(0, at), oldBelow.subarray(at)]));
    const back = Buffer.alloc(old.length);
    await layered.read(sectorSize, back);
    assert.deepEqual(back, Buffer.concat([written.subarray(0, at), old.subarray(at)]), `cut at ${cut}`);
  }
});

test('CMK-70: each 512-byte unit of a run is encrypted by itself, with AES-CBC and encrypted salt-sector IVs', async () => {
  const unit = 512;
  const key = new Uint8Array(layerKeyLength).fill(7);
  const raw = createPlatter('disk', size, systemRandom).open();
  const content = randomBytes(2 * sectorSize);
  await withInfrastructureLayer(raw, key).write(sectorSize, content);
  const below = Buffer.alloc(content.length);
  await raw.read(sectorSize, below);
  const derived = (purpose: string) => Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), purpose, layerKeyLength));
  const [dataKey, ivKey] = [derived('interlock layer v1: CBC data key'), derived('interlock layer v1: ESSIV key')];
  for (let at = 0; at < content.length; at += unit) {
    const number = Buffer.alloc(16);
    number.writeBigUInt64LE(BigInt((sectorSize + at) / unit));
    const iv = createCipheriv('aes-256-ecb', ivKey, null).setAutoPadding(false).update(number);
    const cipher = createCipheriv('aes-256-cbc', dataKey, iv).setAutoPadding(false);
    assert.deepEqual(below.subarray(at, at + unit), cipher.update(content.subarray(at, at + unit)));
  }
});
