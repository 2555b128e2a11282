import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type DataFolder, foldersAt, openDataFolder, removeWhole } from './data-folder.ts';
import { tryLock } from './lock.mjs';
import { removeServer } from './unprivileged.ts';

/** What a run of the tests keeps while it lasts. */
export interface TestRunData {
  /** Of its servers. */
  readonly data: DataFolder;
  /** For `TMPDIR`: tests that are ended in the middle remove nothing, so what they made goes with the run. */
  readonly temporary: string;
  /** Removes all of it. */
  remove(): void;
}

/** Points from the folder of a run to its temporary files, so that another run finds them. */
const link = 'temporary';

/**
 * Opens the data of this run, and removes what runs left behind that were killed.
 * @param parent folder of all runs; a run has one in it, with a lock
 * @param temporaryParent where its temporary files go: a short path, for those of sockets lie below it
 */
export const openTestRunData = (parent: string, temporaryParent: string): TestRunData => {
  for (const left of readdirSync(parent)) {
    if (tryLock(join(parent, left, 'launcher.lock')).taken) removeRun(join(parent, left));
  }
  const root = join(parent, String(process.pid));
  mkdirSync(root, { mode: 0o700 });
  const data = openDataFolder(root);
  tryLock(data.path('launcher.lock'));
  const temporary = mkdtempSync(join(temporaryParent, 'interlock-'));
  // QEMU, which runs as another user where this one is root, reaches the socket of a disk host in it. What lies in it has modes of its own.
  chmodSync(temporary, 0o711);
  symlinkSync(temporary, data.path(link));
  return { data, temporary, remove: () => removeRun(root) };
};

const removeRun = (root: string): void => {
  const temporary = join(root, link);
  // First what the folder leads to: a run that is killed here is found again.
  if (lstatSync(temporary, { throwIfNoEntry: false })) removeWhole(readlinkSync(temporary));
  removeServer(foldersAt(root));
  removeWhole(root);
};
