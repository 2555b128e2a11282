import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { ReceiveVolumeRequest } from '@interlock/contracts/interlock/disk/v1/volumes.ts';
import { keyedMutex, systemRandom } from '@interlock/runtime';
import type { Control } from '../disk/control.ts';
import { memoryVolumeFiles } from '../host/storage/volume-files.ts';
import { expectStored, receiveStored, type StoredPiece } from '../host/volume/stored-volume.ts';
import { arrivalsApi } from './arrivals-api.ts';

const name = 'subscriptions/s/resourceGroups/g/disks/d';
const volumeId = 'v2';
const sector = 4_096;

/** The receiver of a move of a disk of 1 GiB that is encrypted twice. */
const receiver = () => {
  const files = memoryVolumeFiles(systemRandom);
  const disk = {
    status: 'active',
    ...{ host: 'disk-0', moving: { host: 'disk-1', volumeId }, sizeGib: 1 },
    encryption: { type: 'double', set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/e' },
  };
  const control = {
    hostName: 'disk-1',
    turns: keyedMutex(),
    all: { disks: { load: async (id: string) => ({ id, version: 1, state: disk }) } },
    host: {
      expect: (id: string, shape: Parameters<typeof expectStored>[2]) => expectStored(files, id, shape),
      receive: (id: string, pieces: AsyncIterable<StoredPiece>) => receiveStored(files, id, pieces),
    },
  };
  // As much of the control side as the receiver needs.
  const { receiveVolume } = arrivalsApi(control as unknown as Control);
  return {
    files,
    receive: (...messages: readonly Partial<ReceiveVolumeRequest>[]) =>
      receiveVolume(Readable.from(messages.map((message) => ReceiveVolumeRequest.fromPartial(message)))),
    stream: receiveVolume,
  };
};

test('a volume arrives as it was sent, with the sealed key of its lower layer, and its digest says so', async () => {
  const { files, receive } = receiver();
  const [first, layer, last] = [randomBytes(2 * sector), randomBytes(sector), randomBytes(sector)];
  const { sha256 } = await receive(
    { name, volumeId },
    { part: 'DATA', offsetBytes: sector, data: first },
    { part: 'LAYER', offsetBytes: 0, data: layer },
    { part: 'DATA', offsetBytes: 1024 ** 3 - sector, data: last },
  );
  assert.deepEqual(sha256, createHash('sha256').update(first).update(layer).update(last).digest());
  const data = (await files.open(volumeId, 'data')) ?? assert.fail();
  const found = Buffer.alloc(3 * sector);
  await data.read(0, found);
  assert.deepEqual(found, Buffer.concat([Buffer.alloc(sector), first]));
  assert.equal(data.size(), 1024 ** 3, 'the size is that of the record, not of what was sent');
});

test('sectors outside of the volume, parts of them, and too long messages are refused', async () => {
  const data = Buffer.alloc(sector);
  const refused: readonly [Partial<ReceiveVolumeRequest>, string][] = [
    [{ part: 'DATA', offsetBytes: 512, data }, 'OUT_OF_RANGE'],
    [{ part: 'DATA', offsetBytes: 0, data: Buffer.alloc(100) }, 'OUT_OF_RANGE'],
    [{ part: 'DATA', offsetBytes: 1024 ** 3, data }, 'OUT_OF_RANGE'],
    [{ part: 'DATA', offsetBytes: -sector, data }, 'OUT_OF_RANGE'],
    [{ part: 'LAYER', offsetBytes: sector, data }, 'OUT_OF_RANGE'],
    [{ offsetBytes: 0, data }, 'FIELD_MISSING'],
    [{ part: 'DATA', offsetBytes: 0, data: Buffer.alloc(2 * 1024 * 1024 + sector) }, 'DATA_TOO_LONG'],
  ];
  for (const [piece, reason] of refused)
    await assert.rejects(receiver().receive({ name, volumeId }, piece), { reason });
  const { files, receive } = receiver();
  await assert.rejects(receive({ name, volumeId: 'another' }), { reason: 'VOLUME_NOT_EXPECTED' });
  await assert.rejects(receive(), { reason: 'VOLUME_NOT_EXPECTED' });
  assert.equal(await files.open('another', 'data'), undefined);
});

test('four volumes may arrive at one time; a fifth is refused, and taken when one has arrived', async () => {
  const { stream, receive } = receiver();
  const { promise, resolve } = Promise.withResolvers<void>();
  async function* stalled() {
    yield ReceiveVolumeRequest.fromPartial({ name, volumeId });
    await promise;
  }
  const waiting = Array.from({ length: 4 }, () => stream(stalled()));
  await assert.rejects(receive({ name, volumeId }), { reason: 'TOO_MANY_ARRIVALS' });
  resolve();
  await Promise.allSettled(waiting);
  assert.ok((await receive({ name, volumeId })).sha256.length === 32);
});
