import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import fc from 'fast-check';
import { openDiskCipher } from '../cipher/dek.ts';
import { createXtsMask } from '../cipher/xts-mask.ts';
import type { BlockStore } from '../storage/block-store.ts';
import { createPlatter } from '../storage/memory-block-store.ts';
import { pieceSize, sectorSize } from '../storage/sector.ts';
import { folderVolumeFiles } from '../storage/volume-files.ts';
import { volumeOver } from '../volume/test-volume.ts';
import { type AccessCheck, EncryptedDisk } from './encrypted-disk.ts';

const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;
const mask = createXtsMask();
const directory = await mkdtemp(join(tmpdir(), 'interlock-disks-'));
const files = folderVolumeFiles(directory);
after(async () => {
  await files.close();
  await rm(directory, { recursive: true });
});

const allowed: AccessCheck = () => undefined;
const stores: Record<string, (size: number) => Promise<BlockStore>> = {
  memory: async (size) => createPlatter('disk', size, systemRandom).open(),
  file: (size) => files.create(randomUUID(), 'data', size),
};
const dek = randomBytes(32);
const newCipher = () => openDiskCipher(dek, mask);
const readAll = async (disk: EncryptedDisk, offset = 0, length = disk.size(), check = allowed) =>
  Buffer.concat(await Array.fromAsync(disk.read(offset, length, check)));

for (const [name, newStore] of Object.entries(stores)) {
  describe(`content of an encrypted disk over ${name}`, () => {
    test('behaves like a plain buffer under any sequence of reads and writes (CMK-09, CMK-127)', async () => {
      const size = 8 * sectorSize;
      const range = fc.tuple(fc.nat(size), fc.nat(3 * sectorSize)).map(([offset, length]) => ({
        offset,
        length: Math.min(length, size - offset),
      }));
      const step = fc.record({ kind: fc.constantFrom('read', 'write', 'zero', 'rekey'), range, fill: fc.integer() });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const disk = new EncryptedDisk(volumeOver(await newStore(size)), newCipher());
          const model = Buffer.alloc(size);
          for (const { kind, range, fill } of steps) {
            const end = range.offset + range.length;
            if (kind === 'rekey') disk.giveKey(newCipher());
            else if (kind === 'read') {
              assert.ok((await readAll(disk, range.offset, range.length)).equals(model.subarray(range.offset, end)));
            } else {
              const bytes = Buffer.alloc(range.length, kind === 'zero' ? 0 : Buffer.from([fill & 255, 1, 2, 3, 5]));
              bytes.copy(model, range.offset);
              await disk.write(range.offset, bytes, allowed);
            }
          }
          assert.ok((await readAll(disk)).equals(model));
          await disk.close();
        }),
        { numRuns: 60 },
      );
    });

    test('concurrent transfers do not mix, and a read returns parts of the size that the receiver requests', async () => {
      const disk = new EncryptedDisk(volumeOver(await newStore(4 * pieceSize)), newCipher());
      const content = randomBytes(4 * pieceSize);
      const pieces = [0, 1, 2, 3].map((n) => [n * pieceSize, (n + 1) * pieceSize] as const);
      await Promise.all(pieces.map(([from, to]) => disk.write(from, content.subarray(from, to), allowed)));
      const parts = { bytesMax: 16 * sectorSize, allocate: (length: number) => new Uint8Array(length) };
      const readers = pieces.map(([from]) => disk.read(from + 5, pieceSize - 5, allowed, parts));
      const received: Uint8Array[][] = readers.map(() => []);
      // One part of each in turn, so that all readers are open at once.
      for (let part = 0; part < 16; part++) {
        for (const [n, reader] of readers.entries()) received[n]?.push((await reader.next()).value);
      }
      for (const [n, [from, to]] of pieces.entries()) {
        assert.deepEqual(new Set(received[n]?.map(({ length }) => length)), new Set([65_531, 65_536]));
        assert.ok(Buffer.concat(received[n] ?? []).equals(content.subarray(from + 5, to)));
      }
      await Promise.all(readers.map((reader) => reader.return(undefined)));
      await disk.close();
    });

    test('concurrent writes into one sector lose nothing, whole-sector writes among them', async () => {
      const disk = new EncryptedDisk(volumeOver(await newStore(2 * sectorSize)), newCipher());
      const model = Buffer.alloc(2 * sectorSize);
      const work: Promise<void>[] = [];
      for (let index = 0; index < 200; index += 1) {
        const whole = index === 100;
        const bytes = Buffer.alloc(whole ? sectorSize : 40, index);
        const offset = whole ? 0 : index * 40;
        bytes.copy(model, offset);
        work.push(disk.write(offset, bytes, allowed));
      }
      await Promise.all(work);
      assert.ok((await readAll(disk)).equals(model));
      await disk.close();
    });
  });

  describe(`key and access of an encrypted disk over ${name}`, () => {
    test('a long transfer is split into pieces of at most 1 MiB, with an access check before each', async () => {
      const size = 3 * pieceSize;
      const disk = new EncryptedDisk(volumeOver(await newStore(size)), newCipher());
      const bytes = randomBytes(2 * pieceSize + 100);
      let checks = 0;
      const counting = () => {
        checks += 1;
      };
      await disk.write(10, bytes, counting);
      assert.ok(checks >= 3);
      const pieces = await Array.fromAsync(disk.read(10, bytes.length, counting));
      assert.ok(pieces.every((piece) => piece.length <= pieceSize));
      assert.ok(Buffer.concat(pieces).equals(bytes));
      let left = 3;
      const losing = () => {
        left -= 1;
        if (left < 0) throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'lost');
      };
      let received = 0;
      await assert.rejects(async () => {
        for await (const piece of disk.read(0, size, losing)) received += piece.length;
      }, hasReason('KEY_DISABLED'));
      assert.equal(received, pieceSize);
      await disk.close();
    });

    test('without a key, reads and writes fail, flush and grow work; with the key the content is back (CMK-120, CMK-127)', async () => {
      const disk = new EncryptedDisk(volumeOver(await newStore(4 * sectorSize)), newCipher());
      const bytes = randomBytes(5000);
      await disk.write(100, bytes, allowed);
      disk.dropKey();
      disk.dropKey();
      await assert.rejects(disk.write(0, bytes, allowed), hasReason('DEK_DROPPED'));
      await assert.rejects(readAll(disk), hasReason('DEK_DROPPED'));
      await disk.flush();
      await disk.grow(8 * sectorSize);
      disk.giveKey(newCipher());
      assert.deepEqual(await readAll(disk, 100, 5000), bytes);
      assert.deepEqual(await readAll(disk, 4 * sectorSize, 10), Buffer.alloc(10));
      await disk.close();
    });

    test('if the key is lost while the store works, the read is refused and the write does not happen', async () => {
      const store = await newStore(4 * sectorSize);
      let onRead: () => void = () => undefined;
      const read = store.read.bind(store);
      store.read = async (offset, into) => {
        await read(offset, into);
        onRead();
      };
      const disk = new EncryptedDisk(volumeOver(store), newCipher());
      await disk.write(0, randomBytes(sectorSize), allowed);
      const before = Buffer.alloc(sectorSize);
      await read(0, before);
      onRead = () => disk.dropKey();
      await assert.rejects(readAll(disk), hasReason('DEK_DROPPED'));
      disk.giveKey(newCipher());
      await assert.rejects(disk.write(5, randomBytes(5), allowed), hasReason('DEK_DROPPED'));
      const now = Buffer.alloc(sectorSize);
      await read(0, now);
      assert.deepEqual(now, before);
      await disk.close();
    });

    test('ranges outside the disk are refused', async () => {
      const disk = new EncryptedDisk(volumeOver(await newStore(sectorSize)), newCipher());
      for (const [offset, length] of [
        [-1, 1],
        [0, sectorSize + 1],
        [sectorSize, 1],
        [0.5, 1],
        [Number.MAX_SAFE_INTEGER, 1],
      ] as const) {
        await assert.rejects(readAll(disk, offset, length), hasReason('OUT_OF_RANGE'));
        await assert.rejects(disk.write(offset, Buffer.alloc(length), allowed), hasReason('OUT_OF_RANGE'));
      }
      assert.equal((await readAll(disk, sectorSize, 0)).length, 0);
      await disk.close();
    });
  });
}

test('the file never contains the plaintext, and unwritten space stays unallocated (CMK-12)', async () => {
  const volumeId = randomUUID();
  const store = await files.create(volumeId, 'data', 64 * sectorSize);
  const disk = new EncryptedDisk(volumeOver(store), newCipher());
  const pattern = Buffer.from('interlock-plaintext-');
  await disk.write(123, Buffer.alloc(5 * sectorSize, pattern), allowed);
  await disk.write(20 * sectorSize, Buffer.alloc(sectorSize), allowed);
  await disk.flush();
  assert.equal(await store.allocatedBytes(), 7 * sectorSize);
  const raw = await readFile(join(directory, `${volumeId}.data`));
  for (let shift = 0; shift < pattern.length; shift += 1) {
    const part = Buffer.concat([pattern, pattern]).subarray(shift, shift + 6);
    assert.equal(raw.includes(part), false);
  }
  assert.equal(raw.includes(dek), false);
  const sectors = new Set(
    Array.from({ length: 6 }, (_, at) => raw.toString('hex', at * sectorSize, at * sectorSize + 64)),
  );
  assert.equal(sectors.size, 6);
  await disk.close();
});

test('a crash after an unflushed write leaves flushed bytes in all other sectors intact', async () => {
  for (let round = 0; round < 20; round += 1) {
    const platter = createPlatter('disk', 8 * sectorSize, systemRandom);
    const disk = new EncryptedDisk(volumeOver(platter.open()), newCipher());
    const flushed = randomBytes(8 * sectorSize);
    await disk.write(0, flushed, allowed);
    await disk.flush();
    await disk.write(3 * sectorSize + 10, randomBytes(sectorSize), allowed);
    platter.crash();
    const again = await readAll(new EncryptedDisk(volumeOver(platter.open()), newCipher()));
    assert.ok(again.subarray(0, 3 * sectorSize).equals(flushed.subarray(0, 3 * sectorSize)));
    assert.ok(again.subarray(5 * sectorSize).equals(flushed.subarray(5 * sectorSize)));
  }
});

test('a read with another DEK returns noise, not data', async () => {
  const platter = createPlatter('disk', sectorSize, systemRandom);
  const store = platter.open();
  const bytes = Buffer.alloc(sectorSize, 'text');
  await new EncryptedDisk(volumeOver(store), newCipher()).write(0, bytes, allowed);
  const stranger = new EncryptedDisk(volumeOver(store), openDiskCipher(randomBytes(32), mask));
  assert.equal((await readAll(stranger)).includes('text'), false);
});
