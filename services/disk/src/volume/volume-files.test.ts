import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DiskHeader, encodeSlot } from '../disk-header-format.ts';
import { platformAlgorithm } from '../keys/platform-key.ts';
import { sectorSize } from '../sector.ts';
import { findSealedByPlatform } from './volume-files.ts';

const headerUnder = (keyVersion: string, algorithm: string): DiskHeader => ({
  diskId: 'disks/d',
  dekId: 'dek',
  size: sectorSize,
  cipher: 'AES-256-XTS-4096',
  keyCheck: new Uint8Array(16),
  sequence: 1,
  generation: 1,
  hostEpoch: 1,
  wrap: { keyVersion, algorithm, wrapped: new Uint8Array(60) },
});
const empty = new Uint8Array(sectorSize);

test('what is sealed under the master key is found: data keys that no customer has, and keys of lower layers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'interlock-volumes-'));
  const put = (name: string, ...sectors: readonly Uint8Array[]) =>
    writeFile(join(folder, name), Buffer.concat(sectors));
  const platform = encodeSlot(headerUnder('platform/0123456789abcdef', platformAlgorithm));
  const customer = encodeSlot(headerUnder('vaults/v/keys/k/versions/1', 'RSA-OAEP-256'));
  try {
    assert.equal(await findSealedByPlatform(folder), undefined);
    await put('customer.header', customer, empty);
    await put('customer.data', platform);
    await put('unwritten.header', empty, empty);
    await put('cut.header');
    assert.equal(await findSealedByPlatform(folder), undefined);
    for (const sectors of [
      [platform, empty],
      [customer, platform],
    ]) {
      await put('own.header', ...sectors);
      assert.equal(await findSealedByPlatform(folder), `the data key in ${join(folder, 'own.header')}`);
    }
    await rm(join(folder, 'own.header'));
    await put('twice.layer', empty);
    assert.equal(await findSealedByPlatform(folder), `the key in ${join(folder, 'twice.layer')}`);
  } finally {
    await rm(folder, { recursive: true });
  }
});
