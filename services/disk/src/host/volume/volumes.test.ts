import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { platformKey } from '../keys/platform-key.ts';
import { sectorSize } from '../storage/sector.ts';
import { memoryVolumeFiles, type VolumeFiles } from '../storage/volume-files.ts';
import { Volumes } from './volumes.ts';

const sizeBytes = 4 * sectorSize;
const unchecked = (): void => undefined;

/** A volume with a lower layer. @param around wraps the files */
const layeredVolume = async (around: (files: VolumeFiles) => VolumeFiles) => {
  const random = systemRandom;
  const files = around(memoryVolumeFiles(random));
  const volumes = new Volumes({
    files,
    platformKey: platformKey(masterKey(random.bytes(32)), random),
    hostEpoch: 1,
    random,
  });
  const volumeId = randomUUID();
  await volumes.create(volumeId, sizeBytes, true);
  const { store, close } = await volumes.open(volumeId, true);
  const content = random.bytes(sectorSize);
  await store.write(0, content);
  await close();
  const contentOf = async (id: string): Promise<Uint8Array> => {
    const opened = await volumes.open(id, true);
    const bytes = Buffer.alloc(sectorSize);
    await opened.store.read(0, bytes).finally(() => opened.close());
    return bytes;
  };
  return { volumes, volumeId, content, contentOf };
};

test('CMK-70: a volume with a lower layer can be opened while the layer of its copy is created', async () => {
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let isCopying = false;
  const { volumes, volumeId, content, contentOf } = await layeredVolume((files) => ({
    ...files,
    async create(id, part, size) {
      const file = await files.create(id, part, size);
      if (part !== 'layer' || !isCopying) return file;
      return {
        ...file,
        async write(offset, bytes) {
          reached.resolve();
          await released.promise;
          return file.write(offset, bytes);
        },
      };
    },
  }));
  isCopying = true;
  const copyId = randomUUID();
  const copying = volumes.copy(volumeId, copyId, true, unchecked);
  await reached.promise;
  const reading = contentOf(volumeId);
  reading.catch(() => undefined);
  // Files in memory open within one turn of the event loop: an open that does not wait for the copy has its layer by then.
  await setImmediate();
  released.resolve();
  assert.deepEqual(Buffer.from(await reading), Buffer.from(content));
  await copying;
  assert.deepEqual(Buffer.from(await contentOf(copyId)), Buffer.from(content));
});

test('CMK-110: the source of a copy stays usable when the layer of the copy cannot be created', async () => {
  let isFull = false;
  const { volumes, volumeId, content, contentOf } = await layeredVolume((files) => ({
    ...files,
    async create(id, part, size) {
      if (isFull && part === 'layer') throw new Rejection('RESOURCE_EXHAUSTED', 'STORAGE_FULL', 'the storage is full');
      return files.create(id, part, size);
    },
  }));
  isFull = true;
  await assert.rejects(volumes.copy(volumeId, randomUUID(), true, unchecked), { reason: 'STORAGE_FULL' });
  assert.deepEqual(Buffer.from(await contentOf(volumeId)), Buffer.from(content));
});

test('CMK-70, G5: a volume whose layer key is missing is refused, not opened without its lower layer', async () => {
  let isLost = false;
  const { volumes, volumeId, content, contentOf } = await layeredVolume((files) => ({
    ...files,
    open: async (id, part) => (part === 'layer' && isLost ? undefined : files.open(id, part)),
  }));
  isLost = true;
  await assert.rejects(contentOf(volumeId), { code: 'DATA_LOSS', reason: 'LAYER_CORRUPT' });
  await assert.rejects(volumes.copy(volumeId, randomUUID(), true, unchecked), { reason: 'LAYER_CORRUPT' });
  isLost = false;
  assert.deepEqual(await contentOf(volumeId), Buffer.from(content));
});
