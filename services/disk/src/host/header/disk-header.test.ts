import assert from 'node:assert/strict';
import { createHmac, hash, randomBytes, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import type { BlockStore } from '../storage/block-store.ts';
import { createPlatter } from '../storage/memory-block-store.ts';
import { sectorSize } from '../storage/sector.ts';
import { inSteps } from '../storage/test-block-store-contract.ts';
import {
  erasePrevious,
  headerSize,
  makeCurrentDurable,
  type OpenHeader,
  headerOver as openOver,
  readHeader,
  stampHostEpoch,
  writeHeader,
} from './disk-header.ts';
import { type DiskHeader, encodeSlot, type SlotMac } from './disk-header-format.ts';

const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;
/** The MAC of one volume, as `PlatformKey.slotMac` makes it. */
const macOf =
  (volumeId: string): SlotMac =>
  (bytes) =>
    createHmac('sha256', 'test').update(volumeId).update(bytes).digest();
const mac = macOf('volume');
const headerOver = (store: BlockStore): OpenHeader => openOver(store, mac);
const newPlatter = () => createPlatter('header', headerSize, systemRandom);
const wrap = (keyVersion: string) => ({
  keyVersion,
  algorithm: 'RSA-OAEP-256',
  wrapped: new Uint8Array(randomBytes(512)),
});
const first: DiskHeader = {
  diskId: randomUUID(),
  dekId: randomUUID(),
  size: 2 ** 40,
  cipher: 'AES-256-XTS-4096',
  sequence: 1,
  set: 'sets/a',
  generation: 3,
  hostEpoch: 7,
  wrap: wrap('vaults/a/keys/b/versions/1'),
};
const second: DiskHeader = { ...first, sequence: 2, generation: 4, wrap: wrap('vaults/a/keys/b/versions/2') };

test('a rotation keeps the old wrap next to the new one until the old one is erased (CMK-14, CMK-88)', async () => {
  const store = newPlatter().open();
  await writeHeader(headerOver(store), first);
  assert.deepEqual(await readHeader(headerOver(store)), { current: first, previous: undefined });
  await writeHeader(headerOver(store), second);
  assert.deepEqual(await readHeader(headerOver(store)), { current: second, previous: first });
  await erasePrevious(headerOver(store));
  await erasePrevious(headerOver(store));
  assert.deepEqual(await readHeader(headerOver(store)), { current: second, previous: undefined });
  const bytes = new Uint8Array(headerSize);
  await store.read(0, bytes);
  assert.equal(Buffer.from(bytes).includes('versions/1'), false);
  const third = { ...second, sequence: 3, wrap: wrap('vaults/a/keys/b/versions/3') };
  await writeHeader(headerOver(store), third);
  assert.deepEqual(await readHeader(headerOver(store)), { current: third, previous: second });
});

test('a writer that is late, or would overwrite a wrap in use, is refused', async () => {
  const store = newPlatter().open();
  await assert.rejects(writeHeader(headerOver(store), second), hasReason('HEADER_STALE'));
  await writeHeader(headerOver(store), first);
  await assert.rejects(writeHeader(headerOver(store), first), hasReason('HEADER_STALE'));
  await writeHeader(headerOver(store), second);
  await assert.rejects(writeHeader(headerOver(store), { ...second, sequence: 3 }), hasReason('HEADER_BUSY'));
});

test('a crash while a slot is written or erased leaves the old header, the new one or both, never garbage', async () => {
  const seen = new Set<string>();
  for (let round = 0; round < 100; round += 1) {
    const platter = newPlatter();
    const store = platter.open();
    await writeHeader(headerOver(store), first);
    // The power fails before the flush of the second slot.
    const unflushed = inSteps({ ...store, flush: async () => platter.crash() });
    await assert.rejects(writeHeader(headerOver(unflushed), second), hasReason('STORE_CLOSED'));
    const reopened = platter.open();
    const found = await readHeader(headerOver(reopened));
    assert.deepEqual(found.previous ?? found.current, first);
    if (found.previous) assert.deepEqual(found.current, second);
    seen.add(found.previous ? 'both' : 'old');
    if (found.previous) continue;
    // The torn slot is written again as if it had been empty.
    await writeHeader(headerOver(reopened), second);
    // The crash comes before the flush of the rewritten slot, or before that of the erased slot.
    let flushesLeft = round % 2;
    const flush = async () => {
      flushesLeft -= 1;
      if (flushesLeft < 0) platter.crash();
      else await reopened.flush();
    };
    const erasing = inSteps({ ...reopened, flush });
    await assert.rejects(erasePrevious(headerOver(erasing)), hasReason('STORE_CLOSED'));
    const last = platter.open();
    assert.deepEqual((await readHeader(headerOver(last))).current, second);
    await erasePrevious(headerOver(last));
    assert.deepEqual(await readHeader(headerOver(last)), { current: second, previous: undefined });
  }
  assert.ok(seen.has('old'));
});

test('G5: a slot whose flush failed is rewritten before the previous slot is erased, and survives a power failure', async () => {
  let isFailing = false;
  const platter = createPlatter('header', headerSize, systemRandom, new Map(), () => isFailing);
  const store = platter.open();
  await writeHeader(headerOver(store), first);
  isFailing = true;
  const open = headerOver(store);
  await assert.rejects(writeHeader(open, second), { code: 'EIO' });
  isFailing = false;
  // Both the writer and a new reader see the second header as written.
  for (const found of [open, headerOver(store)])
    assert.deepEqual(await readHeader(found), { current: second, previous: first });
  await erasePrevious(open);
  platter.crash();
  assert.deepEqual(await readHeader(headerOver(platter.open())), { current: second, previous: undefined });
});

test('G5: if the rewrite of a slot fails too, the previous slot is kept', async () => {
  let isFailing = false;
  const platter = createPlatter('header', headerSize, systemRandom, new Map(), () => isFailing);
  const store = platter.open();
  await writeHeader(headerOver(store), first);
  isFailing = true;
  await assert.rejects(writeHeader(headerOver(store), second), { code: 'EIO' });
  await assert.rejects(makeCurrentDurable(headerOver(store)), { code: 'EIO' });
  await assert.rejects(erasePrevious(headerOver(store)), { code: 'EIO' });
  platter.crash();
  assert.deepEqual(await readHeader(headerOver(platter.open())), { current: first, previous: undefined });
});

test('one changed byte anywhere makes a slot unusable, and without another slot the header is HEADER_CORRUPT', async () => {
  const store = newPlatter().open();
  await writeHeader(headerOver(store), first);
  const sector = new Uint8Array(sectorSize);
  await store.read(0, sector);
  // The last 32 bytes only distinguish damage from forgery. If the MAC is right, nothing is damaged.
  for (let index = 0; index < sectorSize - 32; index += 1) {
    await store.write(
      0,
      sector.map((byte, at) => (at === index ? byte ^ 0x40 : byte)),
    );
    await assert.rejects(readHeader(headerOver(store)), hasReason('HEADER_CORRUPT'));
  }
  await store.write(0, sector);
  assert.deepEqual((await readHeader(headerOver(store))).current, first);
});

test('an empty header, noise, slots of two disks and a write that was not stored are HEADER_CORRUPT', async () => {
  const empty = newPlatter().open();
  await assert.rejects(readHeader(headerOver(empty)), hasReason('HEADER_CORRUPT'));
  await assert.rejects(erasePrevious(headerOver(empty)), hasReason('HEADER_CORRUPT'));
  await empty.write(0, randomBytes(headerSize));
  await assert.rejects(readHeader(headerOver(empty)), hasReason('HEADER_CORRUPT'));

  const mixed = newPlatter().open();
  await writeHeader(headerOver(mixed), first);
  await writeHeader(headerOver(mixed), { ...second, diskId: randomUUID() });
  await assert.rejects(readHeader(headerOver(mixed)), hasReason('HEADER_CORRUPT'));

  const store = newPlatter().open();
  const deaf = inSteps({ ...store, write: async () => undefined });
  await assert.rejects(writeHeader(headerOver(deaf), first), hasReason('HEADER_CORRUPT'));
});

test('a later host writes its epoch into the header and changes nothing else; an earlier host is refused', async () => {
  const refuse = () => new Rejection('FAILED_PRECONDITION', 'TEST_REPLACED', 'another host was here');
  const store = newPlatter().open();
  await stampHostEpoch(headerOver(store), 8, refuse);
  await assert.rejects(readHeader(headerOver(store)), hasReason('HEADER_CORRUPT'), 'no header was created');
  await writeHeader(headerOver(store), first);
  await stampHostEpoch(headerOver(store), 7, refuse);
  await stampHostEpoch(headerOver(store), 8, refuse);
  await stampHostEpoch(headerOver(store), 8, refuse);
  assert.deepEqual(await readHeader(headerOver(store)), { current: { ...first, hostEpoch: 8 }, previous: undefined });
  await assert.rejects(stampHostEpoch(headerOver(store), 7, refuse), hasReason('TEST_REPLACED'));
  // After an unfinished rotation, the current header stays current.
  await writeHeader(headerOver(store), { ...second, hostEpoch: 8 });
  await stampHostEpoch(headerOver(store), 9, refuse);
  assert.deepEqual(await readHeader(headerOver(store)), { current: { ...second, hostEpoch: 9 }, previous: undefined });
});

test('a crash while the epoch is written leaves a valid header with the old or the new epoch', async () => {
  const refuse = () => assert.fail('no other host wrote this header');
  const seen = new Set<number>();
  for (let round = 0; round < 100; round += 1) {
    const platter = newPlatter();
    const store = platter.open();
    await writeHeader(headerOver(store), first);
    let flushesLeft = round % 2;
    const failing = inSteps({
      ...store,
      flush: async () => {
        flushesLeft -= 1;
        if (flushesLeft < 0) platter.crash();
        else await store.flush();
      },
    });
    await assert.rejects(stampHostEpoch(headerOver(failing), 8, refuse), hasReason('STORE_CLOSED'));
    const again = platter.open();
    const { current } = await readHeader(headerOver(again));
    assert.deepEqual({ ...current, hostEpoch: 7 }, first);
    seen.add(current.hostEpoch);
    await stampHostEpoch(headerOver(again), 8, refuse);
    await erasePrevious(headerOver(again));
    assert.deepEqual(await readHeader(headerOver(again)), { current: { ...first, hostEpoch: 8 }, previous: undefined });
  }
  assert.deepEqual(seen, new Set([7, 8]));
});

test('an open header is read once, and again after a write whose outcome is unknown (CMK-14)', async () => {
  const platter = newPlatter();
  const store = platter.open();
  let reads = 0;
  let isFailing = false;
  const open = headerOver({
    ...store,
    read: async (offset, into) => {
      reads += 1;
      await store.read(offset, into);
    },
    writeDurably: async (offset, bytes) => {
      const isThere = await store.writeDurably(offset, bytes);
      if (isFailing) throw new Error('the answer was lost');
      return isThere;
    },
  });
  await writeHeader(open, first);
  await writeHeader(open, second);
  await erasePrevious(open);
  assert.deepEqual(await readHeader(open), { current: second, previous: undefined });
  assert.equal(reads, 1);
  isFailing = true;
  const third = { ...second, sequence: 3 };
  await assert.rejects(writeHeader(open, third), /the answer was lost/);
  assert.deepEqual(await readHeader(open), { current: third, previous: second });
  assert.equal(reads, 2);
});

test('a header too large for its slot is refused before anything is written', async () => {
  const store = newPlatter().open();
  const huge = { ...first, wrap: { ...first.wrap, wrapped: new Uint8Array(4000) } };
  await assert.rejects(writeHeader(headerOver(store), huge), /does not fit/);
  await writeHeader(headerOver(store), { ...first, wrap: wrap('x'.repeat(300)) });
});

test('CMK-13: a header is refused if this service did not write it, or wrote it for another volume', async () => {
  const put = async (sector: Uint8Array) => {
    const store = newPlatter().open();
    await store.write(0, sector);
    return readHeader(headerOver(store));
  };
  assert.deepEqual((await put(encodeSlot(first, mac))).current, first);
  await assert.rejects(put(encodeSlot(first, macOf('another volume'))), hasReason('HEADER_FORGED'));
  // Anyone can compute the hash.
  const unkeyed: SlotMac = (bytes) => hash('sha256', bytes, 'buffer');
  await assert.rejects(put(encodeSlot(first, unkeyed)), hasReason('HEADER_FORGED'));
});

/** Writes the MAC of this service and the hash behind the content of a slot. */
const authenticate = (sector: Buffer): void => {
  sector.set(mac(sector.subarray(0, sectorSize - 64)), sectorSize - 64);
  sector.set(hash('sha256', sector.subarray(0, sectorSize - 32), 'buffer'), sectorSize - 32);
};

test('an authentic slot with malformed content is HEADER_CORRUPT, not an internal error', async () => {
  const texts = ['{', '', 'null', '[]', '{"diskId":1}', '"text"'];
  for (const text of texts) {
    const sector = Buffer.from(encodeSlot(first, mac));
    sector.fill(0, 16);
    sector.writeUInt32BE(text.length, 12);
    sector.write(text, 16);
    authenticate(sector);
    const store = newPlatter().open();
    await store.write(0, sector);
    await assert.rejects(readHeader(headerOver(store)), hasReason('HEADER_CORRUPT'), text);
  }
  const long = Buffer.from(encodeSlot(first, mac));
  long.writeUInt32BE(2 ** 32 - 1, 12);
  authenticate(long);
  const store = newPlatter().open();
  await store.write(0, long);
  await assert.rejects(readHeader(headerOver(store)), hasReason('HEADER_CORRUPT'), 'a length beyond the slot');
});

test('a header whose file was truncated is HEADER_CORRUPT', async () => {
  const store = createPlatter('header', sectorSize, systemRandom).open();
  await store.write(0, encodeSlot(first, mac));
  await assert.rejects(readHeader(headerOver(store)), hasReason('HEADER_CORRUPT'));
});

test('G5: an unreadable slot is skipped like a damaged one, and the other slot is used', async () => {
  const store = newPlatter().open();
  await writeHeader(headerOver(store), first);
  await writeHeader(headerOver(store), second);
  await store.write(0, new Uint8Array(sectorSize).fill(0xff));
  assert.deepEqual(await readHeader(headerOver(store)), { current: second, previous: undefined });
});
