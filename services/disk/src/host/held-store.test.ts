import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import type { BlockStore } from '../block-store.ts';
import { createPlatter } from '../memory-block-store.ts';
import { sectorSize } from '../sector.ts';
import { type HeldStore, holdStore } from './held-store.ts';

test('what a lease that was over for a moment cut off is done once the volume is open again', async () => {
  const platter = createPlatter('d', 4 * sectorSize, systemRandom);
  const opened: HeldStore[] = [];
  /** Lets go of the volume before the first write has reached it, as the end of the lease does; it is held again at once. */
  const cutOff = (store: BlockStore): BlockStore => ({
    ...store,
    async write(offset, bytes) {
      await opened[0]?.letGo();
      return store.write(offset, bytes);
    },
  });
  let opens = 1;
  const reopen = async (): Promise<BlockStore> => {
    opens += 1;
    return platter.open();
  };
  const held = holdStore(cutOff(platter.open()), reopen, () => undefined);
  opened.push(held);
  const content = systemRandom.bytes(sectorSize);
  await held.store.write(sectorSize, content);
  const found = new Uint8Array(sectorSize);
  await held.store.read(sectorSize, found);
  assert.deepEqual(Buffer.from(found), Buffer.from(content));
  assert.equal(opens, 2);
  await held.store.close();
  await assert.rejects(held.store.read(0, found), { reason: 'STORE_CLOSED' }, 'what was closed stays so');
});

test('G6: a volume that is let go of in the middle of a write is opened again, or by others, only when that is over', async () => {
  for (const next of ['used again', 'closed'] as const) {
    const platter = createPlatter('d', 4 * sectorSize, systemRandom);
    const finished = Promise.withResolvers<void>();
    /** What is under way is finished before the file is free, as the kernel does it. */
    const slow = (store: BlockStore): BlockStore => ({
      ...store,
      async close() {
        await finished.promise;
        await store.close();
      },
    });
    const held = holdStore(
      slow(platter.open()),
      async () => platter.open(),
      () => undefined,
    );
    const letGo = held.letGo();
    const wish = next === 'closed' ? held.store.close() : held.store.write(0, systemRandom.bytes(sectorSize));
    const settled = wish.then(() => 'done');
    assert.equal(
      await Promise.race([settled, new Promise((resolve) => setImmediate(resolve, 'waits'))]),
      'waits',
      next,
    );
    finished.resolve();
    await Promise.all([letGo, settled]);
    await held.store.close();
    await platter.open().close();
  }
});

test('G6: a volume that is no longer owned once it is open again is let go of', async () => {
  const platter = createPlatter('d', 4 * sectorSize, systemRandom);
  let isOwner = true;
  const check = (): void => {
    if (!isOwner) throw new Error('another host has it');
  };
  const reopen = async (): Promise<BlockStore> => {
    isOwner = false;
    return platter.open();
  };
  const held = holdStore(platter.open(), reopen, check);
  await held.letGo();
  await assert.rejects(held.store.flush(), /another host has it/);
  await platter.open().close();
});

test('G6: whoever uses a volume that was let go of, at whatever moment, finds it opened once', async () => {
  for (let hops = 0; hops < 12; hops++) {
    const platter = createPlatter('d', 4 * sectorSize, systemRandom);
    const held = holdStore(
      platter.open(),
      async () => platter.open(),
      () => undefined,
    );
    await held.letGo();
    const first = held.store.flush();
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    await Promise.all([first, held.store.flush()]);
    await held.store.close();
  }
});
