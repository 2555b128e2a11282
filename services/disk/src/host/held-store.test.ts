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
