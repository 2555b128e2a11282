import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Rejection } from '@interlock/event-store';
import type { MasterKey } from '@interlock/sealing';
import { storageRefusal } from '../storage/block-store.ts';
import type { Owner } from './ownership.ts';

/**
 * Refuses a host with another master key than before. It could not unseal what the earlier key sealed, and what it seals would
 * be lost once the right key is back. The folder stores the id of the last key.
 * @param findSealed names something in the folder that a master key sealed; `undefined`: nothing, so any key is accepted
 * @throws Rejection UNAVAILABLE MASTER_KEY_UNKNOWN
 */
export const requireMasterKeyOf = async (
  folder: string,
  { id }: Pick<MasterKey, 'id'>,
  findSealed: () => Promise<string | undefined>,
): Promise<void> => {
  const path = join(folder, 'master-key-id');
  const before = (await readFile(path, 'utf8').catch(absentIs(''))).trim();
  if (before === id) return;
  const sealed = before === '' ? undefined : await findSealed();
  if (sealed !== undefined) {
    throw new Rejection(
      'UNAVAILABLE',
      'MASTER_KEY_UNKNOWN',
      `${sealed} is sealed under master key ${before}, and MASTER_KEY_FILE has ${id}: put the file back that was there before`,
      { master_key: before },
    );
  }
  await writeFile(path, `${id}\n`, { mode: 0o600, flush: true });
};

/** For `catch`: a missing file is `value`; everything else stays an error. */
const absentIs =
  <Value>(value: Value) =>
  (error: unknown): Value => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return value;
    throw error;
  };

/** The last owner; undefined for a new folder. Call it under the folder's lock. @throws Error if the file is malformed */
export const readOwner = async (folder: string): Promise<Owner | undefined> => {
  const path = join(folder, ownerFile);
  const text = await readFile(path, 'utf8').catch(absentIs(undefined));
  if (text === undefined) return undefined;
  const { epoch, machine }: Partial<Owner> = JSON.parse(text);
  if (Number.isSafeInteger(epoch) && typeof machine === 'string') return { epoch: Number(epoch), machine };
  throw new Error(`${path} does not say who owned the folder last`);
};

/**
 * Stores the owner of the folder atomically. Call it under the folder's lock. If storage has no space for another file, it
 * overwrites the existing one: otherwise no host could start, and no disk be deleted to free space.
 */
export const writeOwner = async (folder: string, owner: Owner): Promise<void> => {
  const path = join(folder, ownerFile);
  const text = `${JSON.stringify(owner)}\n`;
  try {
    await writeFile(`${path}.new`, text, { mode: 0o600, flush: true });
  } catch (error) {
    const refusal = storageRefusal(error);
    const isFull = refusal instanceof Rejection && refusal.reason === 'STORAGE_FULL';
    if (!isFull || (await readOwner(folder)) === undefined) throw refusal;
    await rm(`${path}.new`, { force: true });
    return overwrite(path, text);
  }
  await rename(`${path}.new`, path);
};

/** Overwrites a short text in place, in one sector, which storage writes as a whole. Spaces fill the rest of a longer text. */
const overwrite = async (path: string, text: string): Promise<void> => {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await file.write(text.padEnd(size), 0);
    await file.sync();
  } finally {
    await file.close();
  }
};

const ownerFile = 'owner.json';

/** The id of the running kernel: that of its boot on Linux, else the name of the machine. */
export const machineId = async (): Promise<string> => {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    // Another system. A restarted machine has the same name, but no process from before its restart.
    return hostname();
  }
};
