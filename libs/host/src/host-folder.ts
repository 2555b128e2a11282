import { link, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger, Random, Scope } from '@interlock/runtime';
import type { WorkPartitions } from './partitions/work-partitions.ts';

/** Name of the file in a folder that holds the folder's id. */
const idFile = 'folder-id';

/**
 * The id of a folder, independent of its path. The first call writes it; concurrent processes get the same id.
 * @throws Error when the file is empty, or the folder cannot be read or written
 */
export const folderId = async (folder: string, random: Pick<Random, 'uuid'>): Promise<string> => {
  const path = join(folder, idFile);
  const found = await idIn(path);
  if (found !== undefined) return found;
  const id = random.uuid();
  const own = `${path}.${id}`;
  try {
    await writeFile(own, `${id}\n`, { mode: 0o600, flush: true });
    await link(own, path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    await rm(own, { force: true });
  }
  await syncFolder(folder);
  return (await idIn(path)) ?? id;
};

const idIn = async (path: string): Promise<string | undefined> => {
  try {
    const id = (await readFile(path, 'utf8')).trim();
    if (id === '')
      throw new Error(
        `${path} is empty: restore it from a backup of the folder, or remove it to give the folder a new id`,
      );
    return id;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
};

/** A folder that lost its id in a power failure would count as another folder. */
const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/** What a process needs to check whether its folder is the one of the service's host. */
export interface FolderEntry {
  /** The folder; it exists. */
  readonly folder: string;
  /** `LOST_FOLDER_ID`: id of a host folder that is lost for good. */
  readonly lost: string | undefined;
  readonly partitions: Pick<WorkPartitions, 'claimFolder' | 'waitWithOtherFolder'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly scope: Pick<Scope, 'signal' | 'defer'>;
  /** Called once when this process is not the host, for its probes. */
  readonly notReady: (reason: 'OTHER_HOST_FOLDER') => void;
  /** Called once when another folder replaces this one: the process must end. */
  readonly onReplaced: () => void;
  /** Work of a process that is not the host, until `signal` is aborted. */
  readonly meanwhile?: (signal: AbortSignal) => Promise<void>;
}

/**
 * Admits a process only with the folder of the service's host: guests, or volumes, are in one folder, and a process with another
 * folder would treat them as lost. The first folder that is recorded in the store is the host's. A process with another folder
 * serves nothing, owns no partition, and waits here until it is stopped.
 * @returns the id of the folder
 * @throws Error when the process is stopped while it is not the host
 */
export const enterHostFolder = async (entry: FolderEntry): Promise<string> => {
  const { folder, lost, partitions, random, log, scope, notReady, onReplaced, meanwhile } = entry;
  const id = await folderId(folder, random);
  const recorded = await partitions.claimFolder({ folder: id, lost, onReplaced });
  if (recorded === undefined) return id;
  log.error(
    'not ready: the host of this service has another folder. Scale the service to one replica, or, if that folder is gone for good, set LOST_FOLDER_ID to its id',
    { reason: 'OTHER_HOST_FOLDER', folder, folderId: id, hostFolderId: recorded },
  );
  notReady('OTHER_HOST_FOLDER');
  const waited = Promise.all([partitions.waitWithOtherFolder(scope.signal), meanwhile?.(scope.signal)]);
  // The store stays open until the process has recorded that it leaves.
  scope.defer('process with another folder', () => waited);
  await waited;
  throw new Error(`stopped while the host of this service has another folder than ${folder}`);
};
