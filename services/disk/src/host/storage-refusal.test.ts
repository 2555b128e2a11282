import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { headerOver, headerSize, writeHeader } from './header/disk-header.ts';
import { storageRefusal } from './storage/block-store.ts';
import { largeFileStore } from './storage/file-block-store.ts';
import { openFileThreads } from './storage/file-threads.ts';
import { sectorSize } from './storage/sector.ts';
import { folderVolumeFiles } from './storage/volume-files.ts';

test('a write to full storage fails with STORAGE_FULL, also through the file threads', async () => {
  const threads = openFileThreads();
  const fd = openSync('/dev/full', 'r+');
  const store = largeFileStore({ path: '/dev/full', threads, onClosed: () => {}, fd, size: sectorSize });
  await assert.rejects(store.write(0, new Uint8Array(sectorSize)), {
    code: 'RESOURCE_EXHAUSTED',
    reason: 'STORAGE_FULL',
  });
  await assert.rejects(threads.write('/dev/full', 0, Uint8Array.of(1)), { reason: 'STORAGE_FULL' });
  closeSync(fd);
  await threads.stop();
});

test('a file size that the file system does not support is refused with SIZE_NOT_STORABLE', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-size-'));
  const threads = openFileThreads();
  // The largest size that is an exact number. Some file systems have such files, with no byte allocated.
  const created = threads.create(join(folder, 'large'), Number.MAX_SAFE_INTEGER - (sectorSize - 1));
  const outcome = await created.then(
    ({ fd }) => threads.close(fd).then(() => 'made'),
    (error: { reason?: string }) => error.reason,
  );
  assert.ok(outcome === 'made' || outcome === 'SIZE_NOT_STORABLE', String(outcome));
  await threads.stop();
  rmSync(folder, { recursive: true });
});

test('the first header of a volume allocates both slots, so that later headers can be written to full storage', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-room-'));
  const files = folderVolumeFiles(folder);
  const store = await files.create('v', 'header', headerSize);
  assert.equal(await store.allocatedBytes(), 0);
  await writeHeader(
    headerOver(store, () => new Uint8Array(32)),
    {
      diskId: 'disk',
      dekId: 'dek',
      size: sectorSize,
      cipher: 'AES-256-XTS-4096',
      set: 'sets/s',
      sequence: 1,
      generation: 1,
      hostEpoch: 1,
      wrap: { keyVersion: 'k', algorithm: 'RSA-OAEP-256', wrapped: new Uint8Array(256) },
    },
  );
  assert.equal(await store.allocatedBytes(), headerSize);
  await store.close();
  await files.close();
  rmSync(folder, { recursive: true });
});

test('any other error is returned unchanged', () => {
  for (const error of [Object.assign(new Error('gone'), { code: 'EIO' }), new Error('no code'), 'text']) {
    assert.equal(storageRefusal(error), error);
  }
});
