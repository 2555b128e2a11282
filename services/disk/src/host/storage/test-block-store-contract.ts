import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { type BlockStore, copySectors, writesDurably } from './block-store.ts';
import { pieceSize, sectorSize } from './sector.ts';

export const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;
/** Bytes of the stores under test. */
export const size = 64 * sectorSize;
export const content = async (store: BlockStore): Promise<Buffer> => {
  const bytes = Buffer.alloc(store.size(), 0xee);
  await store.read(0, bytes);
  return bytes;
};

/** The store with durable writes made of its own write, flush and read, for tests that replace one of these. */
export const inSteps = (store: BlockStore): BlockStore => ({ ...store, writeDurably: writesDurably(store) });

/** Each creates one disk and returns a function that opens it. */
export type NewDisks = Readonly<Record<string, (size: number) => () => Promise<BlockStore>>>;

type NewDisk = NewDisks[string];

/** What a store reads back. */
const contentTests = (newDisk: NewDisk): void => {
  test('unwritten sectors read as zeros and take no space', async () => {
    const store = await newDisk(size)();
    assert.ok((await content(store)).equals(Buffer.alloc(size)));
    assert.equal(await store.allocatedBytes(), 0);
    await store.close();
  });

  test('keeps written data across flush, close and open', async () => {
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

  test('a durable write reads back after close and open', async () => {
    const open = newDisk(size);
    const store = await open();
    const bytes = randomBytes(2 * sectorSize);
    await store.write(3 * sectorSize, randomBytes(4 * sectorSize));
    assert.equal(await store.writeDurably(4 * sectorSize, bytes), true);
    await store.close();
    const again = await open();
    assert.ok((await content(again)).subarray(4 * sectorSize, 6 * sectorSize).equals(bytes));
    await again.close();
  });

  test('what is read once is what was written last, flushed or not, into memory at any address', async () => {
    const large = 3 * pieceSize;
    const store = await newDisk(large)();
    const expected = Buffer.alloc(large);
    for (const offset of [0, pieceSize - sectorSize, 2 * pieceSize + 5 * sectorSize]) {
      const bytes = randomBytes(2 * sectorSize);
      await store.write(offset, bytes);
      bytes.copy(expected, offset);
      for (const misalignment of [0, 1, 8]) {
        const read = Buffer.alloc(large + misalignment, 0xee).subarray(misalignment);
        await store.readOnce(0, read);
        assert.ok(read.equals(expected));
      }
      await store.flush();
    }
    const reads = Array.from({ length: 12 }, async () => {
      const read = Buffer.alloc(large, 0xee);
      await store.readOnce(0, read);
      return read.equals(expected);
    });
    assert.deepEqual(
      await Promise.all(reads),
      reads.map(() => true),
    );
    await store.close();
  });

  test('does not keep the buffer of the writer', async () => {
    const store = await newDisk(size)();
    const bytes = Buffer.alloc(sectorSize, 1);
    await store.write(0, bytes);
    bytes.fill(2);
    assert.equal((await content(store))[0], 1);
    await store.close();
  });
};

/** Its size, and who may use it. */
const boundTests = (newDisk: NewDisk): void => {
  test('refuses partial sectors and ranges outside the disk', async () => {
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
      await assert.rejects(store.readOnce(offset, Buffer.alloc(length)), hasReason('OUT_OF_RANGE'));
      await assert.rejects(store.write(offset, Buffer.alloc(length)), hasReason('OUT_OF_RANGE'));
      await assert.rejects(store.writeDurably(offset, Buffer.alloc(length)), hasReason('OUT_OF_RANGE'));
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

  test('has one holder at a time, and refuses every operation after a close', async () => {
    const open = newDisk(size);
    const store = await open();
    await assert.rejects(open(), hasReason('DISK_BUSY'));
    await store.close();
    await store.close();
    const next = await open();
    const refused = hasReason('STORE_CLOSED');
    await assert.rejects(store.read(0, Buffer.alloc(sectorSize)), refused);
    await assert.rejects(store.readOnce(0, Buffer.alloc(sectorSize)), refused);
    await assert.rejects(store.write(0, Buffer.alloc(sectorSize)), refused);
    for (const work of [() => store.flush(), () => store.grow(2 * size), () => store.allocatedBytes()])
      await assert.rejects(work, refused);
    await next.close();
  });
};

/** Copies to a store of the same or another implementation. */
const copyTest = (newDisk: NewDisk, targetName: string, newTarget: NewDisk): void => {
  test(`copies every sector to ${targetName}, and holes stay holes`, async () => {
    const store = await newDisk(size)();
    const openTarget = newTarget(size);
    const target = await openTarget();
    for (const sector of [0, 9, 10, 63]) await store.write(sector * sectorSize, randomBytes(sectorSize));
    await copySectors(store, target, () => undefined);
    assert.ok((await content(target)).equals(await content(store)));
    assert.equal(await target.allocatedBytes(), 4 * sectorSize);
    await target.close();
    const again = await openTarget();
    assert.ok((await content(again)).equals(await content(store)));
    const small = await newTarget(size / 2)();
    await assert.rejects(
      copySectors(store, small, () => undefined),
      hasReason('OUT_OF_RANGE'),
    );
    for (const open of [store, again, small]) await open.close();
  });
};

/** The contract of every block store, run for each implementation and for copies between all of them. */
export const blockStoreContract = (disks: NewDisks): void => {
  for (const [name, newDisk] of Object.entries(disks)) {
    describe(`block store: ${name}`, () => {
      contentTests(newDisk);
      boundTests(newDisk);
      for (const [targetName, newTarget] of Object.entries(disks)) copyTest(newDisk, targetName, newTarget);
    });
  }
};
