import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chownSync, cpSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type DataFolder, LauncherError, removeWhole } from './data-folder.ts';

/**
 * How to run Postgres, which refuses to run as root, and where it keeps its files:
 *
 * - an ordinary user runs it directly;
 * - root runs it in a user namespace in which root appears as user 1: files stay root's, so no other user needs access to
 *   the private folders around them;
 * - if namespaces are forbidden (or a parent folder belongs to a third user) it runs as an unprivileged user of the
 *   machine, with its files outside the data folder, in /var/tmp.
 */
export interface Unprivileged {
  /** The folder for data, password and socket; belongs to the user of the server. */
  readonly home: string;
  /** The folder with the binaries, which may be a copy that can be reached. */
  readonly binaries: string;
  /** Turns a command into one that runs without root's identity. */
  wrap(command: string, args: readonly string[]): { readonly command: string; readonly args: readonly string[] };
  /** The user to switch to before the command, if it is not the launcher's user. */
  readonly user?: { readonly uid: number; readonly gid: number };
  readonly how: string;
}

const namespace = ['--user', '--map-user=1', '--map-group=1'];

/**
 * Finds a way that works here, by trying.
 * @param namespaces false skips the second way
 * @throws LauncherError if root has no way
 */
export function unprivileged(data: DataFolder, binaries: string, namespaces = true): Unprivileged {
  const asIs = (command: string, args: readonly string[]) => ({ command, args });
  if (process.getuid?.() !== 0) return { home: data.folder('postgres'), binaries, wrap: asIs, how: 'as this user' };
  const home = data.folder('postgres');
  const outside = outsideHome(data);
  // Data stays where it was created: the other place would look empty.
  if (!existsSync(join(outside, 'data')) && namespaces && namespaceReaches(home, binaries)) {
    return {
      home,
      binaries,
      wrap: (command, args) => ({ command: 'unshare', args: [...namespace, command, ...args] }),
      how: 'in a user namespace',
    };
  }
  if (existsSync(join(home, 'data'))) {
    throw new LauncherError(
      `The database in ${home} was made in a user namespace, and this machine does not allow root to make one. Allow it, or set INTERLOCK_DATA to a new folder.`,
    );
  }
  const user = unprivilegedUser();
  if (user === undefined) {
    throw new LauncherError(
      'Postgres does not run as root, and here is neither an unprivileged user to run it as nor are user namespaces allowed. Run as an ordinary user, or set DATABASE_URL.',
    );
  }
  makeOwned(outside, user);
  return {
    home: outside,
    binaries: reachable(binaries) ? binaries : copied(binaries, outside, user),
    wrap: asIs,
    user,
    how: `as user ${user.name} in ${outside}`,
  };
}

/** The folder in which an unprivileged user keeps the files of this data folder: each data folder has its own. */
export function outsideHome(data: DataFolder): string {
  return join('/var/tmp', `interlock-${createHash('sha256').update(data.root).digest('hex').slice(0, 16)}`);
}

/** Removes the Postgres files of this data folder, wherever they are. */
export function removeServer(data: DataFolder): void {
  removeWhole(data.path('postgres'));
  // Only root has files there.
  if (process.getuid?.() === 0) removeWhole(outsideHome(data));
}

function namespaceReaches(home: string, binaries: string): boolean {
  try {
    const probe = `test -w "$1" && "$2"/postgres --version`;
    execFileSync('unshare', [...namespace, '/bin/sh', '-c', probe, 'probe', home, binaries], { stdio: 'ignore' });
    return true;
  } catch (error) {
    // Forbidden, an old unshare, no unshare, or an unreachable folder: the next way is tried, which reports its own failure.
    return !(error instanceof Error);
  }
}

interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** `postgres` if it exists, because that is its purpose. */
function unprivilegedUser(): User | undefined {
  const users = new Map<string, User>();
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid, gid] = line.split(':');
    if (Number(uid) > 0) users.set(name, { name, uid: Number(uid), gid: Number(gid) });
  }
  return users.get('postgres') ?? users.get('nobody') ?? users.get('daemon');
}

/** All users can write to /var/tmp: a folder of that name that belongs to another user (or is a link) is not used. */
function makeOwned(folder: string, user: User): void {
  if (!existsSync(folder)) {
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, user.uid, user.gid);
  }
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== user.uid || (found.mode & 0o077) !== 0) {
    throw new LauncherError(
      `${folder} is not a private folder of user ${user.name}. Remove it, or set DATABASE_URL or INTERLOCK_DATA.`,
    );
  }
}

function reachable(folder: string): boolean {
  for (let at = folder; ; at = dirname(at)) {
    if ((lstatSync(at).mode & 0o005) !== 0o005) return false;
    if (at === dirname(at)) return true;
  }
}

/** The installation (`bin`, `lib`, `share`) next to the data, created once for each version. */
function copied(binaries: string, home: string, user: User): string {
  const source = dirname(binaries);
  const target = join(home, createHash('sha256').update(source).digest('hex').slice(0, 16));
  if (!existsSync(join(target, 'complete'))) {
    cpSync(source, target, { recursive: true, verbatimSymlinks: true });
    own(target, user);
    mkdirSync(join(target, 'complete'));
  }
  return join(target, 'bin');
}

function own(path: string, user: User): void {
  lchownSync(path, user.uid, user.gid);
  if (!lstatSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) own(join(path, name), user);
}
