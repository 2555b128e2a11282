import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tryLock } from './lock.mjs';

/** The root of the repository. */
export const repository = fileURLToPath(new URL('../..', import.meta.url));

/**
 * The folder of one local cloud. All folders are 0700; files with secrets are 0600.
 *
 * ```
 * launcher.lock        the launcher that runs on this folder
 * administrator.json   the first administrator's credentials (0600)
 * cloud.json           addresses of the running cloud, for the command line (0600)
 * bootstrap/           identities.json, which identity reads at its first start; one secret file for each service (0600)
 * certificates/        the local authority, and the server certificate that it signed
 * postgres/            data/, the password of its superuser, socket/
 * page.json            port and token of the live page that was served last (0600)
 * nats/                configuration, jetstream/, and users/ with a seed for the operator and each service (0600)
 * services/<name>/     what a service keeps outside the database
 * images/<image>.cdx.json   bills of materials of the built images
 * logs/<name>.log      output of each process; several processes of disk have disk-0.log, disk-1.log, …, whichever of them works
 * logs/<name>.log.1    the part before it, when a log had reached its limit
 * spans.jsonl          finished spans as they were sent, one export a line; spans.1.jsonl has earlier ones
 * ```
 */
export interface DataFolder {
  readonly root: string;
  /** A path below the root. */
  path(...segments: string[]): string;
  /** The same, as a folder that exists (0700). */
  folder(...segments: string[]): string;
}

/** A problem of the machine or the setup, explained to the user: shown without a stack. */
export class LauncherError extends Error {
  override readonly name = 'LauncherError';
}

/** The data folder: `INTERLOCK_DATA`, relative to the current folder, or `.interlock` in the repository. An empty value counts as unset. */
export function dataRoot(env: Readonly<Record<string, string | undefined>>): string {
  return env.INTERLOCK_DATA ? resolve(env.INTERLOCK_DATA) : join(repository, '.interlock');
}

/** The data folder of an installed command line: `interlock` in `$XDG_DATA_HOME`, `~/.local/share` by default. */
export const userData = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'interlock');

/**
 * Creates the folder if it is missing, and makes it private.
 * @throws LauncherError if it belongs to another user: with files of two owners, one of them would lose access.
 */
export function openDataFolder(root: string): DataFolder {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const owner = statSync(root).uid;
  const self = process.getuid?.();
  if (self !== undefined && owner !== self) {
    throw new LauncherError(
      `The data folder ${root} belongs to user ${owner}, this is user ${self}. Run as that user, or set INTERLOCK_DATA to a folder of your own.`,
    );
  }
  chmodSync(root, 0o700);
  return foldersAt(root);
}

/** The same for an existing folder of another user, such as a mounted volume. */
export const foldersAt = (root: string): DataFolder => {
  const path = (...segments: string[]) => join(root, ...segments);
  return {
    root,
    path,
    folder: (...segments) => {
      mkdirSync(path(...segments), { recursive: true, mode: 0o700 });
      return path(...segments);
    },
  };
};

/** How long processes that use a folder may take to end, and how often that is checked, in milliseconds. */
const [goneWithinMs, lookMs] = [30_000, 50];

/** Name of the file systems that experiments mount in their folders, in the list of the system. */
export const experimentMount = 'interlock-experiment';

/** Unmounts what experiments mounted at a folder or below it, and did not unmount because they were killed. */
export const unmountBelow = (path: string): void => {
  const list = '/proc/mounts';
  if (!existsSync(list)) return;
  for (const line of readFileSync(list, 'utf8').split('\n').toReversed()) {
    const [source, folder = ''] = line.split(' ');
    const isBelow = folder === path || folder.startsWith(`${path}/`);
    // Lazily: a process that still has a file open keeps it until the process ends.
    if (source === experimentMount && isBelow) execFileSync('umount', ['--lazy', folder]);
  }
};

/**
 * Removes a file or folder, if it exists. Servers and services whose launcher was killed end a moment later, and until
 * then write and remove files. `rmSync` stops at such a file without naming what is left.
 * @throws LauncherError while another process writes to it
 */
export function removeWhole(path: string): void {
  const endMs = performance.now() + goneWithinMs;
  unmountBelow(path);
  const pause = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  for (;;) {
    rmSync(path, { recursive: true, force: true });
    if (!existsSync(path)) return;
    if (performance.now() > endMs) throw new LauncherError(`${path} cannot be removed: a process still writes to it.`);
    Atomics.wait(pause, 0, 0, lookMs);
  }
}

/**
 * Makes this process the only launcher on the folder, until the returned function is called or the process ends.
 * @throws LauncherError if another launcher holds the folder, or if it is a copy of the folder of a running cloud
 */
export function holdDataFolder(data: DataFolder): () => void {
  const attempt = tryLock(data.path('launcher.lock'));
  if (attempt.taken) {
    const origin = copiedFrom(data.root);
    if (origin === undefined) return attempt.release;
    attempt.release();
    throw new LauncherError(
      `${data.root} is a copy of ${origin}, made while a cloud ran there: its databases may be incomplete. Remove it to start with an empty cloud, or stop the other cloud and copy its folder again. If you have moved the folder, delete ${data.path('cloud.json')}.`,
    );
  }
  throw new LauncherError(
    `Process ${attempt.holder.pid} is already running a cloud on ${data.root}. Stop it first, or set INTERLOCK_DATA to another folder.`,
  );
}

/**
 * The folder of which this one is a copy that was made while a cloud ran there (or that was moved then): its `cloud.json` names
 * the other. A command that takes addresses from it would reach the cloud of the other folder.
 * @returns undefined if the description is its own, if it has none, or if none can be read
 */
export function copiedFrom(folder: string): string | undefined {
  const origin = originIn(join(folder, 'cloud.json'));
  return origin === undefined || origin === realpathSync(folder) ? undefined : origin;
}

function originIn(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const text = readFileSync(file, 'utf8');
  try {
    const { folder }: { readonly folder?: unknown } = JSON.parse(text);
    return typeof folder === 'string' ? folder : undefined;
  } catch {
    // A launcher that was killed while it wrote the file. Readers of addresses report it.
    return undefined;
  }
}
