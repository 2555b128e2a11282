import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { createPlatter } from '../memory-block-store.ts';
import { sectorSize } from '../sector.ts';
import { layerKeyLength, withInfrastructureLayer } from './infrastructure-layer.ts';

const size = 8 * sectorSize;

test('CMK-70: what goes through comes back, lies encrypted below, and holes stay holes', async () => {
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
  assert.ok(!first.equals(third), 'equal sectors differ by their place');
});

test('another key reads something else', async () => {
  const raw = createPlatter('disk', size, systemRandom).open();
  const content = randomBytes(sectorSize);
  await withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(1)).write(0, content);
  const back = new Uint8Array(sectorSize);
  await withInfrastructureLayer(raw, new Uint8Array(layerKeyLength).fill(2)).read(0, back);
  assert.notDeepEqual(Buffer.from(back), content);
});
