import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { type FileHandle, link, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Rejection } from '@interlock/event-store/rejection';
import type { Random } from '@interlock/runtime';

/** The key that seals all seal keys. `id` (16 hex digits) identifies it and reveals nothing about it. */
export interface MasterKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** New seals use `current`; during a rotation of the master key, `previous` ones still open older seals. */
export interface MasterKeys {
  readonly current: MasterKey;
  readonly previous: readonly MasterKey[];
}

const masterKeyLength = 32;

/** Permission bits that let others use or replace a master key file; for our own file, and for one that our group may read. */
const EXPOSED = 0o077;
const HANDED_EXPOSED = 0o037;

/** Takes over 32 bytes and clears them. @throws Rejection MASTER_KEY_MALFORMED for any other length. */
export function masterKey(bytes: Uint8Array): MasterKey {
  if (bytes.length !== masterKeyLength) {
    bytes.fill(0);
    throw new Rejection('FAILED_PRECONDITION', 'MASTER_KEY_MALFORMED', 'the master key must be exactly 32 raw bytes');
  }
  const key = createSecretKey(bytes);
  bytes.fill(0);
  const id = createHmac('sha256', key).update('interlock master key id').digest('hex').slice(0, 16);
  return { id, key };
}

/**
 * Reads the master key from a file of 32 raw bytes that only its owner can read. If another user owns the file, its group
 * may read it too. Kubernetes mounts a Secret so: owner root, mode 0440, group `fsGroup`, which contains only this process.
 * @throws Rejection FAILED_PRECONDITION: MASTER_KEY_EXPOSED, MASTER_KEY_MALFORMED; NOT_FOUND: MASTER_KEY_MISSING.
 */
export async function readMasterKey(path: string): Promise<MasterKey> {
  const file = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause;
    throw missing(path, `there is no master key at ${path}`);
  });
  if (isExposed(file, process.getuid?.())) {
    const shown = (file.mode & 0o777).toString(8);
    throw new Rejection(
      'FAILED_PRECONDITION',
      'MASTER_KEY_EXPOSED',
      `${path} has mode ${shown}; others can use it: chmod 600`,
      { path, mode: shown },
    );
  }
  return masterKey(await readFile(path));
}

const missing = (path: string, message: string): Rejection =>
  new Rejection('NOT_FOUND', 'MASTER_KEY_MISSING', message, { path });

/** Whether others than the process of user `self` can use or replace a file. */
export const isExposed = (
  { mode, uid }: { readonly mode: number; readonly uid: number },
  self: number | undefined,
): boolean => (mode & (uid === self ? EXPOSED : HANDED_EXPOSED)) !== 0;

/**
 * Creates a master key file (mode 0600, synced) unless it exists, and reads it. The file is complete or does not exist, whenever the
 * process ends; concurrent processes read the same one. For the first start only: if keys are already sealed under a master key,
 * a new one could not open them. And keys sealed under the new one would be lost once the right file is restored.
 * @param findSealed called if the file is missing: finds something that is sealed under a master key that this process does not
 *   have, and returns its name
 * @throws Rejection as `readMasterKey`
 */
export async function obtainMasterKey(
  path: string,
  random: Random,
  findSealed: () => Promise<string | undefined>,
): Promise<MasterKey> {
  const isThere = await stat(path).then(
    () => true,
    (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw cause;
      return false;
    },
  );
  if (isThere) return readMasterKey(path);
  const sealed = await findSealed();
  if (sealed !== undefined) {
    throw missing(
      path,
      `there is no master key at ${path}, and ${sealed} is sealed under one: put the file back, or say in MASTER_KEY_FILE where it is. An earlier master key of the key vault belongs in PREVIOUS_MASTER_KEY_FILES`,
    );
  }
  await makeMasterKeyFile(path, random);
  return readMasterKey(path);
}

async function makeMasterKeyFile(path: string, random: Random): Promise<void> {
  const name = `${path}.${Buffer.from(random.bytes(8)).toString('hex')}.new`;
  const file = await open(name, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    // On a read-only volume `readMasterKey` reports a missing file.
    if (cause.code !== 'EROFS') throw cause;
    return undefined;
  });
  if (!file) return;
  try {
    await writeSecret(file, random).finally(() => file.close());
    // Unlike rename, link fails if another process was first: then its file is the key.
    await link(name, path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
  } finally {
    await rm(name, { force: true });
  }
  const directory = await open(dirname(path));
  await directory.sync().finally(() => directory.close());
}

async function writeSecret(file: FileHandle, random: Random): Promise<void> {
  const bytes = random.bytes(masterKeyLength);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    bytes.fill(0);
  }
}
