import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { type FileHandle, link, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';

/** The key all seal keys are under. `id` (16 hex digits) names it without telling anything about it. */
export interface MasterKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** New seals are made under `current`; `previous` still open during a rotation of the master key. */
export interface MasterKeys {
  readonly current: MasterKey;
  readonly previous: readonly MasterKey[];
}

const masterKeyLength = 32;

/** Permission bits of a master key file that let others use or replace it; of a file that its owner hands to our group. */
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
 * Makes a master key file (mode 0600, synced) unless there is one, and reads it. It is there whole or not at all, whenever the
 * process ends, and of several who begin at once all read the same. For the first start alone: where something is sealed under
 * a master key already, another one would not open that, and what was sealed under it meanwhile would be lost as soon as the
 * right file is put back.
 * @param findSealed looks, where the file is missing, for what is sealed under a master key that this process does not have,
 *   and says what it found
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
    // link, unlike rename, fails if another process was first: its file is then the key.
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
