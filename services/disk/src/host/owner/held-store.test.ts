import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import type { BlockStore } from '../storage/block-store.ts';
import { createPlatter } from '../storage/memory-block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import { type HeldStore, holdStore } from './held-store.ts';

test('a write interrupted by a short end of the lease completes once the volume is reopened', async () => {
  const platter = createPlatter('d', 4 * sectorSize, systemRandom);
  const opened: HeldStore[] = [];
  /** Releases the volume before the first write reaches it, as the end of the lease does. It is held again at once. */
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
  await assert.rejects(held.store.read(0, found), { reason: 'STORE_CLOSED' }, 'a closed store stays closed');
});

test('G6: a volume that is being released is reopened or closed only after its running operations have ended', async () => {
  for (const next of ['used again', 'closed'] as const) {
    const platter = createPlatter('d', 4 * sectorSize, systemRandom);
    const finished = Promise.withResolvers<void>();
    /** The file is free only after running operations have ended, as in the kernel. */
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
    const request = next === 'closed' ? held.store.close() : held.store.write(0, systemRandom.bytes(sectorSize));
    const settled = request.then(() => 'done');
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

test('G6: a volume that is no longer owned after it was reopened is released again', async () => {
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

test('G6: a released volume is reopened exactly once, at whatever moment it is used again', async () => {
  for (let hops = 0; hops < 12; hops++) {
    const platter = createPlatter('d', 4 * sectorSize, systemRandom);
    const held = holdStore(
      platter.open(),
      async () => platter.open(),
      () => undefined,
    );
    await held.letGo();
    const into = new Uint8Array(sectorSize);
    const first = held.store.flush();
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    await Promise.all([first, held.store.read(0, into)]);
    await held.store.close();
  }
});

const eio = (): Error => Object.assign(new Error('the storage fails'), { code: 'EIO' });
const flushFailed = { code: 'DATA_LOSS', reason: 'FLUSH_FAILED' };

test('G5: after a failed flush every flush fails, also after a release, until the volume is closed and opened again', async () => {
  let isFailing = false;
  const platter = createPlatter('d', 4 * sectorSize, systemRandom, new Map(), () => isFailing);
  const hold = (): HeldStore =>
    holdStore(
      platter.open(),
      async () => platter.open(),
      () => undefined,
    );
  const held = hold();
  await held.store.write(0, systemRandom.bytes(sectorSize));
  await held.store.flush();
  isFailing = true;
  await held.store.write(0, systemRandom.bytes(sectorSize));
  await assert.rejects(held.store.flush(), { code: 'EIO' });
  isFailing = false;
  await assert.rejects(held.store.flush(), flushFailed);
  await held.letGo();
  await assert.rejects(held.store.flush(), flushFailed);
  await held.store.close();
  const again = hold();
  await again.store.flush();
  await again.store.close();
});

test('G5: after a flush that failed when the lease of the host ended, the next flush fails too', async () => {
  const platter = createPlatter('d', 4 * sectorSize, systemRandom);
  let isOwner = true;
  const check = (): void => {
    if (!isOwner) throw new Rejection('UNAVAILABLE', 'DISK_HOST_LEASE_OVER', 'the lease is over');
  };
  const flush = async (): Promise<void> => {
    isOwner = false;
    throw eio();
  };
  const held = holdStore({ ...platter.open(), flush }, async () => platter.open(), check);
  await assert.rejects(held.store.flush(), { reason: 'DISK_HOST_LEASE_OVER' });
  await held.letGo();
  isOwner = true;
  await assert.rejects(held.store.flush(), flushFailed);
});

test('G5: if storage reports lost writes for a flush, all callers that share the flush fail', async () => {
  const answers = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  let asked = 0;
  const flush = (): Promise<void> => answers[asked++]?.promise ?? Promise.reject(new Error('asked too often'));
  const held = holdStore(
    { ...createPlatter('d', 4 * sectorSize, systemRandom).open(), flush },
    () => assert.fail('it stays open'),
    () => undefined,
  );
  // One flush, and one for the two requests that arrive during it.
  const fine = [held.store.flush(), held.store.flush(), held.store.flush()];
  answers[0]?.resolve();
  answers[1]?.resolve();
  await Promise.all(fine);
  assert.equal(asked, 2);
  const lost = [held.store.flush(), held.store.flush()];
  answers[2]?.reject(eio());
  const outcomes = await Promise.allSettled(lost);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(asked, 3);
});
