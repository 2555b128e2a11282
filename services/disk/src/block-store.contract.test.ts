import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { openFileBlockStore } from './file-block-store.ts';
import { createPlatter } from './memory-block-store.ts';
import { sectorSize } from './sector.ts';
import { blockStoreContract, content, hasReason, type NewDisks, size } from './test-block-store-contract.ts';

const directory = await mkdtemp(join(tmpdir(), 'interlock-stores-'));
after(() => rm(directory, { recursive: true }));

/** Each makes one disk and gives what opens it, again and again. */
const disks: NewDisks = {
  memory: (size) => {
    const platter = createPlatter('memory disk', size, systemRandom);
    return async () => platter.open();
  },
  file: (size) => {
    const path = join(directory, randomBytes(8).toString('hex'));
    return () => openFileBlockStore(path, size);
  },
};
blockStoreContract(disks);

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
