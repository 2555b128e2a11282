import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '@interlock/runtime';
import type { SealKeyStore } from './seal-key-store.ts';

const purgedSuffix = '.purged';
/** Looks at a record that is all zeros; each that finds it replaced meanwhile means one more change of it. */
const looksMax = 10;

/**
 * A store in one directory (0700): `<id>` holds a record (0600), `<id>.purged` remembers a purge and wins over any
 * record, `<id>.<random>.new` is a record being written. Opening the store finishes purges that a crash cut short.
 */
export async function openFileSealKeyStore(directory: string, random: Random): Promise<SealKeyStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = (name: string) => join(directory, name);
  const syncDirectory = async () => {
    const handle = await open(directory);
    await handle.sync().finally(() => handle.close());
  };
  const isPurged = async (id: string) => (await read(path(id + purgedSuffix))) !== undefined;

  const writeNew = async (id: string, record: Uint8Array) => {
    const name = path(`${id}.${Buffer.from(random.bytes(8)).toString('hex')}.new`);
    const file = await open(name, 'wx', 0o600);
    try {
      await file.writeFile(record);
      await file.sync();
    } finally {
      await file.close();
    }
    return name;
  };

  /** The marker comes first and is durable before anything is removed, so a crash cannot leave a purge half known. */
  const destroy = async (id: string) => {
    const marker = await open(path(id + purgedSuffix), 'a', 0o600);
    await marker.close();
    await syncDirectory();
    const names = await readdir(directory);
    for (const name of names.filter((name) => name === id || (name.startsWith(id) && name.endsWith('.new')))) {
      await overwriteAndRemove(path(name));
    }
    await syncDirectory();
  };

  const store: SealKeyStore = {
    destroy,
    async create(id, record) {
      if (await isPurged(id)) return 'purged';
      const name = await writeNew(id, record);
      try {
        // link, unlike rename, fails when somebody else was first.
        await link(name, path(id));
      } catch (cause) {
        if (!isCode(cause, 'EEXIST')) throw cause;
        return 'exists';
      } finally {
        await rm(name, { force: true });
      }
      await syncDirectory();
      if (!(await isPurged(id))) return 'created';
      await destroy(id);
      return 'purged';
    },
    async read(id) {
      for (let look = 1; ; look += 1) {
        if (await isPurged(id)) return { status: 'purged' };
        const record = await read(path(id));
        if (!record) return { status: 'absent' };
        // Zeros are an old record that somebody was replacing or purging while we read, and the next look finds what counts; or
        // what a crash of the machine left.
        if (look === looksMax || record.some((byte) => byte !== 0)) return { status: 'present', record };
      }
    },
    async replace(id, record) {
      const old = await open(path(id), 'r+').catch(absentIs(undefined));
      if (!old) return;
      try {
        const name = await writeNew(id, record);
        // A purge of another process may have removed the new file already; then there is nothing to put in place.
        await rename(name, path(id)).catch(absentIs(undefined));
        await syncDirectory();
        // The old record is only unlinked by the rename; its bytes go as well.
        await old.write(new Uint8Array((await old.stat()).size), { position: 0 });
        await old.sync();
      } finally {
        await old.close();
      }
      if (await isPurged(id)) await destroy(id);
    },
    async ids() {
      const names = await readdir(directory);
      const purged = new Set(names.filter((name) => name.endsWith(purgedSuffix)));
      return names.filter((name) => /^[0-9a-f]{64}$/.test(name) && !purged.has(name + purgedSuffix));
    },
  };

  const names = new Set(await readdir(directory));
  for (const name of names) {
    if (name.endsWith(purgedSuffix)) await destroyLeftover(name.slice(0, -purgedSuffix.length));
  }
  return store;

  async function destroyLeftover(id: string) {
    const left = [...names].some((name) => name === id || (name.startsWith(id) && name.endsWith('.new')));
    if (left) await destroy(id);
  }
}

const isCode = (cause: unknown, code: string) => cause instanceof Error && 'code' in cause && cause.code === code;

/** For `catch`: a missing file is `value`; everything else stays an error. */
const absentIs =
  <T>(value: T) =>
  (cause: unknown): T => {
    if (isCode(cause, 'ENOENT')) return value;
    throw cause;
  };

const read = (path: string): Promise<Uint8Array | undefined> => readFile(path).catch(absentIs(undefined));

/** Journals and flash may keep old blocks all the same; the master key above is the answer to that. */
async function overwriteAndRemove(path: string): Promise<void> {
  const file = await open(path, 'r+').catch(absentIs(undefined));
  if (!file) return;
  try {
    await file.write(new Uint8Array((await file.stat()).size), { position: 0 });
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path, { force: true });
}
