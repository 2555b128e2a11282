import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { readHeader } from '../header/disk-header.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import { platformKey } from '../keys/platform-key.ts';
import { inSteps } from '../storage/test-block-store-contract.ts';
import { memoryVolumeFiles, type VolumeFiles } from '../storage/volume-files.ts';
import { replaceHeader, writeFirstHeader } from './replace-header.ts';
import { Volumes } from './volumes.ts';

const volumeId = randomUUID();
const currentHeader = async (volumes: Volumes, id: string): Promise<DiskHeader> =>
  (await volumes.withHeader(id, readHeader)).current;
const first: DiskHeader = {
  diskId: randomUUID(),
  dekId: randomUUID(),
  size: 2 ** 30,
  cipher: 'AES-256-XTS-4096',
  set: 'sets/s',
  sequence: 1,
  generation: 1,
  hostEpoch: 1,
  wrap: {
    keyVersion: 'vaults/a/keys/b/versions/1',
    algorithm: 'RSA-OAEP-256',
    wrapped: Uint8Array.from(systemRandom.bytes(256)),
  },
};

/** A volume with a header, and the operations on its file since, one letter each. */
const volumeWithHeader = async () => {
  const files = memoryVolumeFiles(systemRandom);
  let done = '';
  const watched: VolumeFiles = {
    ...files,
    async open(id, part) {
      const store = await files.open(id, part);
      if (part !== 'header' || !store) return store;
      done += 'o';
      return inSteps({
        ...store,
        read: (offset, into) => {
          done += 'r';
          return store.read(offset, into);
        },
        write: (offset, bytes) => {
          done += 'w';
          return store.write(offset, bytes);
        },
        flush: () => {
          done += 'f';
          return store.flush();
        },
        close: () => {
          done += 'c';
          return store.close();
        },
      });
    },
  };
  const key = platformKey(masterKey(Uint8Array.from(systemRandom.bytes(32))), systemRandom);
  /** The volumes of the host that owned the folder in that epoch. */
  const as = (hostEpoch: number) => new Volumes({ files: watched, platformKey: key, hostEpoch, random: systemRandom });
  const volumes = as(1);
  await volumes.create(volumeId, 4_096, false);
  const written = await writeFirstHeader(volumes, volumeId, first);
  return {
    volumes,
    written,
    as,
    since: () => {
      const since = done;
      done = '';
      return since;
    },
  };
};

test('CMK-88: a header is read once, one slot is written, flushed and verified; after the commit the other is erased', async () => {
  const { volumes, written, since } = await volumeWithHeader();
  since();
  let before = '';
  const { header, committed } = await replaceHeader(
    volumes,
    volumeId,
    written,
    { generation: 2 },
    async ({ sequence }) => {
      before = since();
      return sequence;
    },
  );
  assert.deepEqual([before, since()], ['orwfr', 'wfrc']);
  assert.deepEqual([header.sequence, header.generation, committed], [2, 2, 2]);
  assert.deepEqual(await currentHeader(volumes, volumeId), header);
});

test('G7: a host cannot replace a header that a later owner wrote; a later owner can replace an earlier one', async () => {
  const { volumes, written, as } = await volumeWithHeader();
  const { header } = await replaceHeader(as(2), volumeId, written, { generation: 2 }, async () => undefined);
  assert.equal(header.hostEpoch, 2);
  const late = replaceHeader(volumes, volumeId, header, { generation: 3 }, () =>
    assert.fail('nothing is to be decided'),
  );
  await assert.rejects(late, { code: 'FAILED_PRECONDITION', reason: 'DISK_HOST_REPLACED' });
  assert.deepEqual(await currentHeader(volumes, volumeId), header);
});

test('a kept header is opened and read once, by its first user, and closed when its last user releases it', async () => {
  const { volumes, since } = await volumeWithHeader();
  const [one, other] = [volumes.keepHeader(volumeId), volumes.keepHeader(volumeId)];
  since();
  await Promise.all([currentHeader(volumes, volumeId), currentHeader(volumes, volumeId)]);
  await one();
  assert.equal(since(), 'or');
  // A file is open once: a caller that waits for its turn must not open it a second time.
  await Promise.all([currentHeader(volumes, volumeId), other(), currentHeader(volumes, volumeId)]);
  assert.equal(since(), 'corc');
});
