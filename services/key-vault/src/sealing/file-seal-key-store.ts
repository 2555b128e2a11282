import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '@interlock/runtime';
import type { FoundSealKey, SealKeyStore } from './seal-key-store.ts';

const purgedSuffix = '.purged';
/** Reads of a record of zeros before it counts as the record: each further read means that it was replaced meanwhile. */
const readsMax = 10;

/**
 * Opens the store in a directory (0700). `<id>` is a record (0600), `<id>.purged` marks a purge and precedes any record,
 * `<id>.<random>.new` is a record being written. Opening finishes the purges that a crash interrupted.
 */
export async function openFileSealKeyStore(directory: string, random: Random): Promise<SealKeyStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const store = new FileSealKeyStore(directory, random);
  const names = await readdir(directory);
  for (const name of names) {
    if (!name.endsWith(purgedSuffix)) continue;
    const id = name.slice(0, -purgedSuffix.length);
    if (names.some((other) => isRecordOf(id, other))) await store.destroy(id);
  }
  return store;
}

class FileSealKeyStore implements SealKeyStore {
  readonly #directory: string;
  readonly #random: Random;

  constructor(directory: string, random: Random) {
    this.#directory = directory;
    this.#random = random;
  }

  async create(id: string, record: Uint8Array): Promise<'created' | 'exists' | 'purged'> {
    if (await this.#isPurged(id)) return 'purged';
    const name = await this.#writeNew(id, record);
    try {
      // link, unlike rename, fails when another process was first.
      await link(name, this.#path(id));
    } catch (cause) {
      if (!isCode(cause, 'EEXIST')) throw cause;
      return 'exists';
    } finally {
      await rm(name, { force: true });
    }
    await this.#syncDirectory();
    if (!(await this.#isPurged(id))) return 'created';
    await this.destroy(id);
    return 'purged';
  }

  async read(id: string): Promise<FoundSealKey> {
    for (let count = 1; ; count += 1) {
      if (await this.#isPurged(id)) return { status: 'purged' };
      const record = await read(this.#path(id));
      if (!record) return { status: 'absent' };
      // Zeros are an old record that was replaced or purged during the read, or the result of a crash of the machine.
      if (count === readsMax || record.some((byte) => byte !== 0)) return { status: 'present', record };
    }
  }

  async replace(id: string, record: Uint8Array): Promise<void> {
    const old = await open(this.#path(id), 'r+').catch(absentIs(undefined));
    if (!old) return;
    try {
      const name = await this.#writeNew(id, record);
      // A purge by another process may have removed the new file already.
      await rename(name, this.#path(id)).catch(absentIs(undefined));
      await this.#syncDirectory();
      // The rename only unlinks the old record, so its bytes are overwritten too.
      await old.write(new Uint8Array((await old.stat()).size), { position: 0 });
      await old.sync();
    } finally {
      await old.close();
    }
    if (await this.#isPurged(id)) await this.destroy(id);
  }

  /** The mark is durable before anything is removed, so a crash cannot leave a purge without its mark. */
  async destroy(id: string): Promise<void> {
    const mark = await open(this.#path(id + purgedSuffix), 'a', 0o600);
    await mark.close();
    await this.#syncDirectory();
    for (const name of await readdir(this.#directory)) {
      if (isRecordOf(id, name)) await overwriteAndRemove(this.#path(name));
    }
    await this.#syncDirectory();
  }

  async ids(): Promise<readonly string[]> {
    const names = await readdir(this.#directory);
    const purged = new Set(names.filter((name) => name.endsWith(purgedSuffix)));
    return names.filter((name) => /^[0-9a-f]{64}$/.test(name) && !purged.has(name + purgedSuffix));
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  async #isPurged(id: string): Promise<boolean> {
    return (await read(this.#path(id + purgedSuffix))) !== undefined;
  }

  async #writeNew(id: string, record: Uint8Array): Promise<string> {
    const name = this.#path(`${id}.${Buffer.from(this.#random.bytes(8)).toString('hex')}.new`);
    const file = await open(name, 'wx', 0o600);
    try {
      await file.writeFile(record);
      await file.sync();
    } catch (cause) {
      // Without space for all of it, a part would stay.
      await rm(name, { force: true });
      throw cause;
    } finally {
      await file.close();
    }
    return name;
  }

  async #syncDirectory(): Promise<void> {
    const handle = await open(this.#directory);
    await handle.sync().finally(() => handle.close());
  }
}

/** Whether a file is the record of an id, or a new record of it. */
const isRecordOf = (id: string, name: string): boolean => name === id || (name.startsWith(id) && name.endsWith('.new'));

const isCode = (cause: unknown, code: string) => cause instanceof Error && 'code' in cause && cause.code === code;

/** For `catch`: a missing file gives `value`; other errors are thrown again. */
const absentIs =
  <T>(value: T) =>
  (cause: unknown): T => {
    if (isCode(cause, 'ENOENT')) return value;
    throw cause;
  };

const read = (path: string): Promise<Uint8Array | undefined> => readFile(path).catch(absentIs(undefined));

/** Journals and flash may keep old blocks; these records are sealed under the master key. */
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
