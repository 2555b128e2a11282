import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import type { BlockStore } from './block-store.ts';
import { openFileBlockStore } from './file-block-store.ts';
import { createPlatter } from './memory-block-store.ts';
import { sectorSize } from './sector.ts';

const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;
const size = 64 * sectorSize;
const directory = await mkdtemp(join(tmpdir(), 'interlock-stores-'));
after(() => rm(directory, { recursive: true }));

/** Each makes one disk and gives what opens it, again and again. */
const disks: Record<string, (size: number) => () => Promise<BlockStore>> = {
  memory: (size) => {
    const platter = createPlatter('memory disk', size, systemRandom);
    return async () => platter.open();
  },
  file: (size) => {
    const path = join(directory, randomBytes(8).toString('hex'));
    return () => openFileBlockStore(path, size);
  },
};
const content = async (store: BlockStore) => {
  const bytes = Buffer.alloc(store.size(), 0xee);
  await store.read(0, bytes);
  return bytes;
};

for (const [name, newDisk] of Object.entries(disks)) {
  describe(`block store: ${name}`, () => {
    test('what was never written is zeros and takes no room', async () => {
      const store = await newDisk(size)();
      assert.ok((await content(store)).equals(Buffer.alloc(size)));
      assert.equal(await store.allocatedBytes(), 0);
      await store.close();
    });

    test('keeps what was written, across flush, close and open', async () => {
      const open = newDisk(size);
      const store = await open();
      const bytes = randomBytes(3 * sectorSize);
      await store.write(5 * sectorSize, bytes);
      await store.write(6 * sectorSize, bytes.subarray(0, sectorSize));
      await store.flush();
      await store.close();
      const again = await open();
      const expected = Buffer.alloc(size);
      bytes.copy(expected, 5 * sectorSize);
      bytes.copy(expected, 6 * sectorSize, 0, sectorSize);
      assert.ok((await content(again)).equals(expected));
      assert.equal(await again.allocatedBytes(), 3 * sectorSize);
      await again.close();
    });

    test('does not keep the buffer of the writer', async () => {
      const store = await newDisk(size)();
      const bytes = Buffer.alloc(sectorSize, 1);
      await store.write(0, bytes);
      bytes.fill(2);
      assert.equal((await content(store))[0], 1);
      await store.close();
    });

    test('refuses parts of sectors and what lies outside', async () => {
      const store = await newDisk(size)();
      for (const [offset, length] of [
        [1, sectorSize],
        [0, 100],
        [-sectorSize, sectorSize],
        [size, sectorSize],
        [size - sectorSize, 2 * sectorSize],
        [Number.NaN, sectorSize],
      ] as const) {
        await assert.rejects(store.read(offset, Buffer.alloc(length)), hasReason('OUT_OF_RANGE'));
        await assert.rejects(store.write(offset, Buffer.alloc(length)), hasReason('OUT_OF_RANGE'));
      }
      await store.close();
    });

    test('grows with zeros and never shrinks', async () => {
      const open = newDisk(size);
      const store = await open();
      await store.write(size - sectorSize, Buffer.alloc(sectorSize, 7));
      await store.grow(2 * size);
      await assert.rejects(store.grow(size), hasReason('OUT_OF_RANGE'));
      await assert.rejects(store.grow(2 * size + 1), hasReason('OUT_OF_RANGE'));
      await store.flush();
      await store.close();
      const again = await open();
      assert.equal(again.size(), 2 * size);
      const bytes = await content(again);
      assert.equal(bytes[size - 1], 7);
      assert.ok(bytes.subarray(size).every((byte) => byte === 0));
      await again.close();
    });

    test('one holder at a time; a closed store refuses everything', async () => {
      const open = newDisk(size);
      const store = await open();
      await assert.rejects(open(), hasReason('DISK_BUSY'));
      await store.close();
      await store.close();
      const next = await open();
      const refused = hasReason('STORE_CLOSED');
      await assert.rejects(store.read(0, Buffer.alloc(sectorSize)), refused);
      await assert.rejects(store.write(0, Buffer.alloc(sectorSize)), refused);
      for (const work of [store.flush(), store.grow(2 * size), store.allocatedBytes()])
        await assert.rejects(work, refused);
      await next.close();
    });

    for (const [targetName, newTarget] of Object.entries(disks)) {
      test(`copies every sector to ${targetName}, and holes stay holes`, async () => {
        const store = await newDisk(size)();
        const openTarget = newTarget(size);
        const target = await openTarget();
        for (const sector of [0, 9, 10, 63]) await store.write(sector * sectorSize, randomBytes(sectorSize));
        await store.copyTo(target);
        assert.ok((await content(target)).equals(await content(store)));
        assert.equal(await target.allocatedBytes(), 4 * sectorSize);
        await target.close();
        const again = await openTarget();
        assert.ok((await content(again)).equals(await content(store)));
        const small = await newTarget(size / 2)();
        await assert.rejects(store.copyTo(small), hasReason('OUT_OF_RANGE'));
        for (const open of [store, again, small]) await open.close();
      });
    }
  });
}

test('a crash of the memory store keeps what was flushed, loses at most the rest and tears the last sector', async () => {
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

test('the lock of a file ends with the process that held it, even when that is killed', async () => {
  const path = join(directory, 'locked');
  const script = `
    const { openFileBlockStore } = await import(${JSON.stringify(new URL('./file-block-store.ts', import.meta.url).href)});
    await openFileBlockStore(${JSON.stringify(path)}, ${size});
    console.log('open');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    await assert.rejects(openFileBlockStore(path, size), hasReason('DISK_BUSY'));
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await (await openFileBlockStore(path, size)).close();
});
