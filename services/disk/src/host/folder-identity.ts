import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { MasterKey } from '@interlock/sealing';
import type { Owner } from './ownership.ts';
import { storageRefusal } from './storage/block-store.ts';

/** How often a lock that another process holds is tried again, in milliseconds. */
const lockAgainMs = 100;

/**
 * Takes the operating system's lock on a folder for the life of this process: one process of a machine serves it at a time, and
 * so one has each volume open. The lock ends with the process that holds it, however that ends.
 * @param patienceMs how long the process that has it may take to end
 * @param onWaiting called once when there is such a process
 * @returns what gives it free
 * @throws Error naming the folder when another process keeps it, or when `signal` is aborted meanwhile
 */
export const lockFolder = async (
  folder: string,
  parts: {
    readonly clock: Clock;
    readonly patienceMs: number;
    readonly signal: AbortSignal;
    readonly onWaiting?: () => void;
  },
): Promise<() => void> => {
  const { clock, patienceMs, signal } = parts;
  const endMs = clock.monotonicMs() + patienceMs;
  let { onWaiting } = parts;
  for (;;) {
    if (signal.aborted) throw new Error(`stopped while another process serves the volumes in ${folder}`);
    const unlock = lockFile(join(folder, 'host.lock'));
    if (unlock) return unlock;
    if (clock.monotonicMs() >= endMs)
      throw new Error(`another process serves the volumes in ${folder}; it still did after ${patienceMs} ms`);
    onWaiting?.();
    onWaiting = undefined;
    await clock.sleep(lockAgainMs, signal);
  }
};

/**
 * Node has no call for an exclusive lock of the operating system; SQLite, which is built in, takes one with BEGIN EXCLUSIVE.
 * @returns what releases it; undefined while another process holds it
 */
const lockFile = (path: string): (() => void) | undefined => {
  const database = new DatabaseSync(path);
  try {
    // Nothing is ever written, so the journal need be no file.
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    // SQLITE_BUSY; anything else is a fault of the file system.
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === 5) return undefined;
    throw cause;
  }
  return () => database.close();
};

/**
 * Sees to it that a host has the master key that it had before: what that one sealed would be taken for lost, and what is sealed
 * meanwhile would be lost as soon as the right one is back. The folder keeps the id of the last one.
 * @param findSealed says what is sealed under a master key in the folder; `undefined`: nothing, so that any will do
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

/** The last owner of the folder; undefined for a new folder. Call it under the folder's lock. @throws Error for a file that says something else */
export const readOwner = async (folder: string): Promise<Owner | undefined> => {
  const path = join(folder, ownerFile);
  const text = await readFile(path, 'utf8').catch(absentIs(undefined));
  if (text === undefined) return undefined;
  const { epoch, machine }: Partial<Owner> = JSON.parse(text);
  if (Number.isSafeInteger(epoch) && typeof machine === 'string') return { epoch: Number(epoch), machine };
  throw new Error(`${path} does not say who owned the folder last`);
};

/**
 * Keeps who owns the folder now, whole or not at all. Call it under the folder's lock. Where storage has no room for another file
 * it overwrites the existing one: otherwise no host could start, and no disk be deleted to make room.
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

/** Writes over a short text in its place, in one sector, which storage writes as a whole. What was longer is filled up with spaces. */
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

/** The name of the running kernel: of its boot where it has one (Linux), else of the machine. */
export const machineId = async (): Promise<string> => {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    // Another system. A machine that starts again has then the same name, and no process of before it.
    return hostname();
  }
};
