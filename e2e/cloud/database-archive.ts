import { chownSync, copyFileSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openConnections } from '@interlock/event-store';

/** Settings with which an own Postgres server archives its log, next to its data folder. */
export const archiving = {
  wal_level: 'replica',
  archive_mode: 'on',
  // Runs in the data folder, whose parent belongs to the server too. Never overwrites a file.
  archive_command: 'mkdir -p ../archive && test ! -f ../archive/%f && cp %p ../archive/%f',
} as const;

/** Settings with which it replays that log up to a time (`clockOf`) and then accepts writes. */
export const recoveringTo = (moment: string) => ({
  ...archiving,
  restore_command: 'cp ../archive/%f %p',
  recovery_target_time: moment,
  recovery_target_action: 'promote',
  // Clients connect only after the replay.
  hot_standby: 'off',
});

/** What a base backup leaves out: the log, which is archived, and the files of one run of the server. */
const leftOut = new Set(['pg_wal', 'postmaster.pid', 'postmaster.opts', 'pg_replslot', 'pg_stat_tmp', 'pgsql_tmp']);

/**
 * Copies the data folder of a running server, as tools for base backups do: between `pg_backup_start` and
 * `pg_backup_stop`, in one session.
 * @param url of the server, as a superuser
 */
export const baseBackup = async (url: string, home: string, copy: string): Promise<void> => {
  const sql = openConnections(url, { maxConnections: 1 });
  try {
    await sql`select pg_backup_start('drill', true)`;
    copyTree(home, copy);
    const [label] = await sql<{ labelfile: string }[]>`select labelfile from pg_backup_stop(true)`;
    writeFileSync(join(copy, 'backup_label'), label?.labelfile ?? '');
  } finally {
    await sql.end();
  }
};

/** The time of the server, to the microsecond. Later commits have a later time. */
export const clockOf = async (url: string): Promise<string> => {
  const sql = openConnections(url, { maxConnections: 1 });
  try {
    const [row] = await sql<{ moment: string }[]>`select clock_timestamp()::text as moment`;
    return row?.moment ?? '';
  } finally {
    await sql.end();
  }
};

/** Replaces the data folder of a stopped server by a base backup. Its next start reads the log again. */
export const putBack = (copy: string, home: string): void => {
  const { uid, gid } = statSync(join(home, 'PG_VERSION'));
  rmSync(home, { recursive: true });
  copyTree(copy, home);
  for (const name of ['pg_wal', 'pg_replslot']) mkdirSync(join(home, name), { mode: 0o700 });
  writeFileSync(join(home, 'recovery.signal'), '');
  own(home, uid, gid);
};

/** A file that was removed before it could be copied is not needed: the log has its content. */
const copyTree = (from: string, to: string): void => {
  mkdirSync(to, { recursive: true, mode: 0o700 });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (leftOut.has(entry.name)) continue;
    if (entry.isDirectory()) copyTree(source, target);
    else copyUnlessGone(source, target);
  }
};

const copyUnlessGone = (source: string, target: string): void => {
  try {
    copyFileSync(source, target);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
};

const own = (path: string, uid: number, gid: number): void => {
  chownSync(path, uid, gid);
  if (!statSync(path).isDirectory()) return;
  for (const name of readdirSync(path)) own(join(path, name), uid, gid);
};
