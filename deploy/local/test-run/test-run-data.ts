import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type DataFolder, foldersAt, openDataFolder, removeWhole } from '../data-folder.ts';
import { tryLock } from '../lock.mjs';
import { removeServer } from '../unprivileged.ts';

/** The data of a test run. */
export interface TestRunData {
  /** The data folder of its servers. */
  readonly data: DataFolder;
  /** For `TMPDIR`: tests that are killed remove nothing, so their files are removed with the run. */
  readonly temporary: string;
  /** Removes all of it. */
  remove(): void;
}

/** Links from the folder of a run to its temporary files, so that another run finds them. */
const link = 'temporary';

/** In the temporary files: names the folder of their run. A copy of a clone has the link too, and they are not its own. */
const backLink = '.of-run';

/**
 * Opens the data of this run, and removes what killed runs left behind.
 * @param parent folder of all runs; each run has a folder in it, with a lock
 * @param temporaryParent folder of its temporary files: a short path, because those of sockets are below it
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
  // QEMU, which runs as another user if this user is root, reaches the socket of a disk host in it. The content has its own modes.
  chmodSync(temporary, 0o711);
  writeFileSync(join(temporary, backLink), root);
  symlinkSync(temporary, data.path(link));
  return { data, temporary, remove: () => removeRun(root) };
};

const removeRun = (root: string): void => {
  const temporary = join(root, link);
  // First the target of the link: a run that is killed here can still be found.
  if (lstatSync(temporary, { throwIfNoEntry: false })) {
    const target = readlinkSync(temporary);
    const back = join(target, backLink);
    if (existsSync(back) && readFileSync(back, 'utf8') === root) removeWhole(target);
  }
  removeServer(foldersAt(root));
  removeWhole(root);
};
