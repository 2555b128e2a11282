import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { createPlatter } from './memory-block-store.ts';
import { sectorSize } from './sector.ts';
import { blockStoreContract, content, hasReason, type NewDisks, size } from './test-block-store-contract.ts';
import { folderVolumeFiles } from './volume-files.ts';

const directory = await mkdtemp(join(tmpdir(), 'interlock-stores-'));
const files = folderVolumeFiles(directory);
after(async () => {
  await files.close();
  await rm(directory, { recursive: true });
});

/** Each creates one disk and returns a function that opens it. */
const disks: NewDisks = {
  memory: (size) => {
    const platter = createPlatter('memory disk', size, systemRandom);
    return async () => platter.open();
  },
  file: (size) => {
    const volumeId = randomUUID();
    return () => files.create(volumeId, 'data', size);
  },
  'small file': (size) => {
    const volumeId = randomUUID();
    return () => files.create(volumeId, 'header', size);
  },
};
blockStoreContract(disks);

test('a crash of the memory store keeps flushed data, loses some unflushed writes and tears the last sector', async () => {
  const outcomes = new Set<string>();
  for (let round = 0; round < 60; round += 1) {
    const platter = createPlatter('memory disk', size, systemRandom);
    const store = platter.open();
    await store.write(0, Buffer.alloc(4 * sectorSize, 1));
    await store.flush();
    await store.write(0, Buffer.alloc(2 * sectorSize, 2));
    await store.write(2 * sectorSize, Buffer.alloc(sectorSize, 3));
    platter.crash();
    await assert.rejects(store.flush(), hasReason('STORE_CLOSED'));
    const bytes = await content(platter.open());
    assert.equal(bytes[3 * sectorSize], 1);
    const sector = (index: number) => [...new Set(bytes.subarray(index * sectorSize, (index + 1) * sectorSize))].join();
    for (const index of [0, 1]) assert.match(sector(index), /^[12]$/);
    assert.equal(sector(2), '3,1');
    outcomes.add(sector(0));
  }
  assert.deepEqual([...outcomes].sort(), ['1', '2']);
});

test('a file is closed after its running operations end, and can be opened again only then (CMK-127)', async () => {
  for (const part of ['data', 'header'] as const) {
    const volumeId = randomUUID();
    const store = await files.create(volumeId, part, size);
    const bytes = Buffer.alloc(size, 9);
    let isWritten = false;
    const written = store.write(0, bytes).then(() => (isWritten = true));
    const closed = store.close();
    await assert.rejects(files.open(volumeId, part), hasReason('DISK_BUSY'));
    await closed;
    assert.ok(isWritten);
    await written;
    const again = await files.open(volumeId, part);
    assert.ok(again && (await content(again)).equals(bytes));
    await again.close();
  }
});

test('opening a missing part returns undefined and does not block its creation; file system errors are thrown', async () => {
  const volumeId = randomUUID();
  assert.equal(await files.open(volumeId, 'header'), undefined);
  await (await files.create(volumeId, 'header', size)).close();
  const lost = folderVolumeFiles(join(directory, 'missing'));
  await assert.rejects(lost.create(volumeId, 'data', size), { code: 'ENOENT' });
  await assert.rejects(lost.create(volumeId, 'data', size), { code: 'ENOENT' }, 'and not DISK_BUSY');
  await lost.close();
  await assert.rejects(lost.open(volumeId, 'data'), /have ended/);
});
