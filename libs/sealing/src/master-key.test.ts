import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { isExposed, obtainMasterKey } from './master-key.ts';

const self = 10_001;
const root = 0;
const nothingSealed = async () => undefined;

test('a master key file of this user is exposed if any other user has access', () => {
  for (const mode of [0o100600, 0o100400]) assert.equal(isExposed({ mode, uid: self }, self), false);
  for (const mode of [0o100640, 0o100440, 0o100604, 0o100620]) assert.equal(isExposed({ mode, uid: self }, self), true);
});

test('a master key file of another user is exposed if it permits more than reading by the group', () => {
  for (const mode of [0o100440, 0o100640, 0o100400]) assert.equal(isExposed({ mode, uid: root }, self), false);
  for (const mode of [0o100444, 0o100460, 0o100450]) assert.equal(isExposed({ mode, uid: root }, self), true);
});

test('an interrupted first start leaves no master key, and concurrent first starts get the same one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'interlock-master-key-'));
  try {
    const path = join(folder, 'master.key');
    const cutOff = {
      ...systemRandom,
      bytes: (length: number) => {
        if (length === 32) throw new Error('cut off');
        return systemRandom.bytes(length);
      },
    };
    await assert.rejects(obtainMasterKey(path, cutOff, nothingSealed), /cut off/);
    assert.deepEqual(await readdir(folder), []);
    const all = await Promise.all(Array.from({ length: 8 }, () => obtainMasterKey(path, systemRandom, nothingSealed)));
    assert.equal(new Set(all.map(({ id }) => id)).size, 1);
    assert.deepEqual(await readdir(folder), ['master.key']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a missing master key is not replaced while a key is sealed under it; an existing one is read at once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'interlock-master-key-'));
  try {
    const path = join(folder, 'master.key');
    await assert.rejects(
      obtainMasterKey(path, systemRandom, async () => 'the seal key s1'),
      {
        code: 'NOT_FOUND',
        reason: 'MASTER_KEY_MISSING',
        message: /no master key at \S+master\.key, and the seal key s1 is sealed .* PREVIOUS_MASTER_KEY_FILES/,
        metadata: { path },
      },
    );
    assert.deepEqual(await readdir(folder), []);
    const made = await obtainMasterKey(path, systemRandom, nothingSealed);
    assert.equal((await obtainMasterKey(path, systemRandom, () => assert.fail('not asked'))).id, made.id);
  } finally {
    await rm(folder, { recursive: true });
  }
});
