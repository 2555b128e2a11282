import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { sectorSize } from './sector.ts';
import { findSealedByPlatform } from './volume-files.ts';

const empty = new Uint8Array(sectorSize);

test('headers and the keys of lower layers are found as sealed by the master key; data is not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'interlock-volumes-'));
  const put = (name: string) => writeFile(join(folder, name), empty);
  try {
    assert.equal(await findSealedByPlatform(folder), undefined);
    await put('one.data');
    assert.equal(await findSealedByPlatform(folder), undefined);
    await put('one.header');
    assert.equal(await findSealedByPlatform(folder), `the header ${join(folder, 'one.header')}`);
    await put('twice.layer');
    assert.equal(await findSealedByPlatform(folder), `the key in ${join(folder, 'twice.layer')}`);
  } finally {
    await rm(folder, { recursive: true });
  }
});
