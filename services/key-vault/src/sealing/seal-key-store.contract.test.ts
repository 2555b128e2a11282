import assert from 'node:assert/strict';
import { link, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { openFileSealKeyStore } from './file-seal-key-store.ts';
import { createMemorySealKeyStore, type SealKeyStore, sealKeyId } from './seal-key-store.ts';

const directories: string[] = [];
after(() => Promise.all(directories.map((directory) => rm(directory, { recursive: true }))));
const newDirectory = async () => {
  const directory = await mkdtemp(join(tmpdir(), 'interlock-seal-keys-'));
  directories.push(directory);
  return directory;
};

const stores: Record<string, () => Promise<SealKeyStore>> = {
  memory: async () => createMemorySealKeyStore(),
  files: async () => openFileSealKeyStore(await newDirectory(), systemRandom),
};
const a = sealKeyId('keys/a/1');
const b = sealKeyId('keys/b/1');
const record = (byte: number) => new Uint8Array(60).fill(byte);
const present = (byte: number) => ({ status: 'present', record: record(byte) });
const read = async (store: SealKeyStore, id: string) => {
  const found = await store.read(id);
  return found.status === 'present' ? { status: 'present', record: Uint8Array.from(found.record) } : found;
};

for (const [name, openStore] of Object.entries(stores)) {
  describe(`seal key store: ${name}`, () => {
    test('keeps the first record of an id', async () => {
      const store = await openStore();
      assert.deepEqual(await store.read(a), { status: 'absent' });
      assert.equal(await store.create(a, record(1)), 'created');
      assert.equal(await store.create(a, record(2)), 'exists');
      assert.equal(await store.create(b, record(3)), 'created');
      assert.deepEqual(await read(store, a), present(1));
      assert.deepEqual([...(await store.ids())].sort(), [a, b].sort());
    });

    test('replaces a record only if it exists', async () => {
      const store = await openStore();
      await store.replace(a, record(1));
      assert.deepEqual(await store.read(a), { status: 'absent' });
      await store.create(a, record(1));
      await store.replace(a, record(2));
      assert.deepEqual(await read(store, a), present(2));
    });

    test('a purge is for ever: no create and no replace brings the id back (KV-15)', async () => {
      const store = await openStore();
      await store.create(a, record(1));
      await store.destroy(a);
      await store.destroy(a);
      await store.destroy(b);
      await store.replace(a, record(2));
      assert.equal(await store.create(a, record(2)), 'purged');
      for (const id of [a, b]) assert.deepEqual(await store.read(id), { status: 'purged' });
      assert.deepEqual(await store.ids(), []);
    });

    test('a purge wins every race with reads and replaces', async () => {
      const store = await openStore();
      await store.create(a, record(1));
      await Promise.all([store.replace(a, record(2)), store.destroy(a), store.replace(a, record(3)), store.read(a)]);
      assert.deepEqual(await store.read(a), { status: 'purged' });
      assert.deepEqual(await store.ids(), []);
    });

    test('of concurrent creates of one id exactly one wins, and its record is kept', async () => {
      const store = await openStore();
      const outcomes = await Promise.all([1, 2, 3, 4].map((byte) => store.create(a, record(byte))));
      assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
      assert.deepEqual(await read(store, a), present(outcomes.indexOf('created') + 1));
    });
  });
}

test('files have mode 0600 and survive a restart', async () => {
  const directory = await newDirectory();
  const store = await openFileSealKeyStore(directory, systemRandom);
  await store.create(a, record(1));
  await store.replace(a, record(2));
  assert.equal((await stat(join(directory, a))).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), [a]);
  assert.deepEqual(await read(await openFileSealKeyStore(directory, systemRandom), a), present(2));
});

test('opening finishes a purge that a crash cut short, half-written records included', async () => {
  const directory = await newDirectory();
  for (const name of [`${a}.purged`, a, `${a}.0011223344556677.new`]) await writeFile(join(directory, name), record(7));
  const store = await openFileSealKeyStore(directory, systemRandom);
  assert.deepEqual(await readdir(directory), [`${a}.purged`]);
  assert.deepEqual(await store.read(a), { status: 'purged' });
});

test('a purge by another process during a replace leaves no record behind', async () => {
  const directory = await newDirectory();
  const store = await openFileSealKeyStore(directory, systemRandom);
  await store.create(a, record(1));
  await writeFile(join(directory, `${a}.purged`), '');
  await store.replace(a, record(2));
  assert.deepEqual(await readdir(directory), [`${a}.purged`]);
});

test('a purge overwrites the record before it unlinks it', async () => {
  const directory = await newDirectory();
  const store = await openFileSealKeyStore(directory, systemRandom);
  await store.create(a, record(9));
  await link(join(directory, a), join(directory, 'witness'));
  await store.destroy(a);
  assert.deepEqual(Uint8Array.from(await readFile(join(directory, 'witness'))), record(0));
});

test('a record that a crash left empty or zeroed is returned as it is', { timeout: 60_000 }, async () => {
  const directory = await newDirectory();
  const store = await openFileSealKeyStore(directory, systemRandom);
  await writeFile(join(directory, a), '');
  await writeFile(join(directory, b), record(0));
  assert.deepEqual(await read(store, a), { status: 'present', record: new Uint8Array() });
  assert.deepEqual(await read(store, b), present(0));
});
