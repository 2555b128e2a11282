import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

// Plain JavaScript because the bootstrap, which must run before TypeScript can, needs it too. Types: lock.d.mts.

export function tryLock(file) {
  // Before anything is written: a user must be able to see and stop what runs on a full disk.
  const current = readHolder(file);
  if (isHeld(file, current)) return { taken: false, holder: current };
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, '', { mode: 0o600 });
    // The lock is a link to the draft, so it has the same number.
    const own = {
      pid: process.pid,
      startedAt: processStart(process.pid) ?? '',
      path: pathOf(file),
      file: numberOf(draft),
    };
    writeFileSync(draft, JSON.stringify(own));
    for (;;) {
      if (linked(draft, file)) return { taken: true, release: () => release(file, own) };
      const holder = readHolder(file);
      if (isHeld(file, holder)) return { taken: false, holder };
      setAside(file, holder);
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

const isHeld = (file, holder) =>
  holder !== undefined && !isCopy(file, holder) && processStart(holder.pid) === holder.startedAt;

/**
 * Whether the lock came here in a copy of its folder: its holder uses the other folder. A folder that was moved has another path,
 * and some file systems change the numbers of files; a copy has both.
 */
function isCopy(file, { path, file: number }) {
  return path !== undefined && path !== pathOf(file) && number !== numberOf(file);
}

const pathOf = (file) => join(realpathSync(dirname(file)), basename(file));

/** Identifies a file until it is deleted; undefined if it does not exist. */
function numberOf(file) {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

export function processStart(pid) {
  if (process.platform !== 'linux') return startFromPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Fields after the command's name, which may itself contain spaces and brackets: the state is the first, the start time the 20th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}

function startFromPs(pid) {
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
  } catch (error) {
    if (error.status === 1) return undefined;
    throw error;
  }
}

/** A hard link appears with its whole content or not at all, so no process reads an incomplete lock. */
function linked(draft, file) {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file) {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch {
    // Not written by this program, so no running process holds it.
    return { pid: 0, startedAt: '' };
  }
}

/** Removes the lock of an ended process. If another process has taken the lock in the meantime, restores it. */
function setAside(file, dead) {
  const aside = `${file}.${process.pid}.stale`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const moved = readHolder(aside);
  if (dead === undefined || moved?.pid !== dead.pid || moved?.startedAt !== dead.startedAt) linked(aside, file);
  rmSync(aside, { force: true });
}

function release(file, own) {
  const holder = readHolder(file);
  if (holder?.pid === own.pid && holder.startedAt === own.startedAt) rmSync(file, { force: true });
}
