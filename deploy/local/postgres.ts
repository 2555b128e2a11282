import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import connect from 'postgres';
import { type DataFolder, LauncherError } from './data-folder.ts';
import { fullness } from './disk-space.ts';
import { freePort } from './free-port.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { insufficientPrivilege } from './held-databases.ts';
import { logTail } from './log-tail.ts';
import { findPostgres } from './postgres-binaries.ts';
import { endOrphanedPostgres } from './postgres-orphan.ts';
import { type Crash, sayCrash, startRestartable } from './restartable.ts';
import { outsideHome, type Unprivileged, unprivileged } from './unprivileged.ts';

/** A Postgres server to work with. */
export interface Postgres {
  /** What the server is and where it came from, for the user. */
  readonly description: string;
  /** Its process; undefined when the server is not ours. */
  readonly pid: number | undefined;
  /** A URL over TCP, which every client understands. It contains the password. */
  url(database: string): string;
  /** The shortest way: over the unix socket (`?host=/folder`, as libpq and our event store read it) when the server is ours. */
  shortUrl(database: string): string;
  /** Creates the databases that do not exist yet. */
  createDatabases(names: readonly string[]): Promise<void>;
  /** Drops the databases that exist, and ends every connection to them. */
  dropDatabases(names: readonly string[]): Promise<void>;
  /** Ends an own server (fast shutdown). A given server is not changed. */
  stop(): Promise<void>;
  /** Ends an own server with SIGKILL; it stays down until `restart`. @throws LauncherError for a given server */
  kill(): Promise<void>;
  /** Starts an own server again on the same port and data, and stops it first if it runs. @throws LauncherError for a given server */
  restart(): Promise<void>;
}

/** What the machine offers, for tests that remove some of it. */
export interface Machine {
  /** Where Debian and related systems install their versions of Postgres. */
  readonly debianRoot?: string;
  /** false: as if user namespaces were forbidden. */
  readonly namespaces?: boolean;
}

/** The codes with which Postgres refuses to create a database that exists, or that is created at the same moment. */
const alreadyThere = ['42P04', '23505'];

/** A start includes recovery after a crash, which reads up to `max_wal_size` of log. */
const startTimeoutMs = 120_000;

/** Most MiB of Postgres's own log between two checkpoints. Longer logs make checkpoints rarer; benches set more. */
const walMibMax = 256;

/**
 * Larger than the defaults, which suit a machine with other work. None of these reduces durability.
 * `wal_level=minimal` because a local cloud has no replicas.
 */
const settings = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  max_connections: '300',
  shared_buffers: '256MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  wal_buffers: '16MB',
  max_wal_size: `${walMibMax}MB`,
  checkpoint_timeout: '15min',
  random_page_cost: '1.1',
  jit: 'off',
};

/**
 * The server at `DATABASE_URL`, or an own one in the data folder: initialised once, on a free port, ready when
 * this resolves.
 * @param further settings of an own server in addition to these: an archive of its log, for example
 * @param onCrash called when a Postgres started here crashes; by default the end of its log goes to standard error
 * @throws LauncherError if no server can be reached or started; says what to do
 */
export async function startPostgres(
  data: DataFolder,
  env: Readonly<Record<string, string | undefined>>,
  machine: Machine = {},
  further: Readonly<Record<string, string>> = {},
  onCrash: (crash: Crash) => void = sayCrash,
): Promise<Postgres> {
  const { DATABASE_URL: given, PATH: path = '' } = env;
  return given ? givenPostgres(given) : ownPostgres(data, path, machine, further, onCrash);
}

/** Where an own server has its files, and how large its log may become in bytes; undefined for a given server. */
export const walOf = (
  data: DataFolder,
  { DATABASE_URL: given }: Readonly<Record<string, string | undefined>>,
  { max_wal_size: text = settings.max_wal_size }: Readonly<Record<string, string>> = {},
): { readonly home: string; readonly bytesMax: number } | undefined => {
  if (given) return undefined;
  const [, amount, unit] = /^(\d+)(MB|GB)$/.exec(text) ?? [];
  if (amount === undefined)
    throw new LauncherError(`max_wal_size must be a number of MB or GB, such as 256MB, not ${text}.`);
  const outside = outsideHome(data);
  const home = existsSync(join(outside, 'data')) ? outside : data.path('postgres');
  return { home, bytesMax: Number(amount) * (unit === 'GB' ? 2 ** 30 : 2 ** 20) };
};

async function givenPostgres(url: string): Promise<Postgres> {
  // The error does not show the URL, which contains the password.
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol)) {
    throw new LauncherError(
      'DATABASE_URL does not name a Postgres server: it must be postgres://user:password@host:port/database.',
    );
  }
  const databaseUrl = (database: string) => {
    const target = new URL(url);
    target.pathname = `/${database}`;
    return target.href;
  };
  const options = { max: 1, onnotice: () => undefined };
  const sql = connect(url, options);
  try {
    const [row] = await sql<{ version: number; text: string }[]>`
      select current_setting('server_version_num')::int as version, current_setting('server_version') as text`;
    if (row === undefined || row.version < 170_000) {
      throw new LauncherError(`The server behind DATABASE_URL is Postgres ${row?.text}; 17 or newer is needed.`);
    }
    return {
      description: `Postgres ${row.text} given by DATABASE_URL`,
      pid: undefined,
      url: databaseUrl,
      shortUrl: databaseUrl,
      createDatabases: (names) =>
        createDatabases(() => connect(url, { ...options, max: Math.max(1, names.length) }), names),
      dropDatabases: (names) => dropDatabases(() => connect(url, options), names),
      stop: async () => undefined,
      kill: async () => Promise.reject(notOurs()),
      restart: async () => Promise.reject(notOurs()),
    };
  } catch (error) {
    if (error instanceof LauncherError) throw error;
    throw new LauncherError(`The server behind DATABASE_URL does not answer: ${messageOf(error)}`, { cause: error });
  } finally {
    await sql.end();
  }
}

const notOurs = () => new LauncherError('The server behind DATABASE_URL is not ours to end.');

async function ownPostgres(
  data: DataFolder,
  path: string,
  machine: Machine,
  further: Readonly<Record<string, string>>,
  onCrash: (crash: Crash) => void,
): Promise<Postgres> {
  const found = await findPostgres(path, majorOf(data), machine.debianRoot);
  const how = unprivileged(data, found.folder, machine.namespaces);
  const folder = join(how.home, 'data');
  const logFile = join(data.folder('logs'), 'postgres.log');
  const password = await initialise(how, folder, logFile);

  const socketFolder = openSocketFolder(how);
  const port = await freePort();
  const options = {
    path: join(socketFolder.path, `.s.PGSQL.${port}`),
    user: 'postgres',
    max: 1,
    onnotice: () => undefined,
  };
  const launchReady = async () => {
    await endOrphanedPostgres(folder);
    return untilReady(
      () => launch(how, folder, { socketFolder: socketFolder.path, port, logFile, further }),
      options,
      logFile,
    );
  };
  const server = await startRestartable({ name: 'Postgres', logFile, launch: launchReady, onCrash });
  const url = (database: string) => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`;
  return {
    description: `Postgres ${found.major} (${found.origin}, ${found.folder}), ${how.how}`,
    get pid() {
      return server.process.pid;
    },
    url,
    shortUrl: (database) =>
      `postgres://postgres@localhost:${port}/${database}?host=${encodeURIComponent(socketFolder.path)}`,
    createDatabases: (names) =>
      createDatabases(() => connect({ ...options, max: Math.max(1, names.length), database: 'postgres' }), names),
    dropDatabases: (names) => dropDatabases(() => connect({ ...options, database: 'postgres' }), names),
    stop: async () => {
      await server.stop();
      socketFolder.close();
    },
    kill: server.kill,
    restart: server.restart,
  };
}

/** The version that created the data in the folder, from Postgres's version file. */
function majorOf(data: DataFolder): number | undefined {
  const marks = [data.path('postgres'), outsideHome(data)].map((home) => join(home, 'data', 'PG_VERSION'));
  const mark = marks.find((file) => existsSync(file));
  return mark === undefined ? undefined : Number(readFileSync(mark, 'utf8'));
}

/**
 * Creates the data folder, unless it exists. The folder gets its name only when it is complete, so an interrupted run leaves
 * nothing incomplete.
 * @returns the superuser's password. TCP needs it: any user of the machine can connect there. The socket's folder is private.
 */
async function initialise(how: Unprivileged, folder: string, logFile: string): Promise<string> {
  const passwordFile = join(how.home, 'password');
  if (existsSync(folder)) return readFileSync(passwordFile, 'utf8');
  const password = randomBytes(24).toString('hex');
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (how.user !== undefined) chownSync(passwordFile, how.user.uid, how.user.gid);
  const options = ['--username=postgres', '--encoding=UTF8', '--no-locale', '--auth-local=trust'];
  const files = [`--pwfile=${passwordFile}`, `--pgdata=${draft}`];
  const { exited } = await startGuarded({
    ...how.wrap(join(how.binaries, 'initdb'), [...options, '--auth-host=scram-sha-256', ...files]),
    cwd: how.home,
    output: logFile,
    stopSignal: 'TERM',
    graceMs: 5_000,
    user: how.user,
  });
  if ((await exited).status !== 0)
    throw new LauncherError(`initdb failed. The end of ${logFile}:\n${logTail(logFile)}`);
  renameSync(draft, folder);
  return password;
}

/** The path of a socket may have 107 bytes, and the driver takes ':' and ',' in it for a port and a second host. */
function openSocketFolder(how: Unprivileged): { path: string; close(): void } {
  const path = join(how.home, 'socket');
  if (Buffer.byteLength(path) <= 85 && !/[:,]/.test(path)) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    if (how.user !== undefined) chownSync(path, how.user.uid, how.user.gid);
    return { path, close: () => undefined };
  }
  const short = mkdtempSync(join(tmpdir(), 'interlock-'));
  if (how.user !== undefined) chownSync(short, how.user.uid, how.user.gid);
  return { path: short, close: () => rmSync(short, { recursive: true, force: true }) };
}

function launch(
  how: Unprivileged,
  folder: string,
  parts: {
    readonly socketFolder: string;
    readonly port: number;
    readonly logFile: string;
    readonly further: Readonly<Record<string, string>>;
  },
) {
  const { socketFolder, port, logFile, further } = parts;
  const all = {
    ...settings,
    ...further,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: `"${socketFolder}"`,
    port,
  };
  return startGuarded({
    ...how.wrap(join(how.binaries, 'postgres'), [
      '-D',
      folder,
      ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ]),
    cwd: how.home,
    output: logFile,
    stopSignal: 'INT',
    graceMs: 30_000,
    user: how.user,
  });
}

/**
 * Starts the server and waits until it responds. After a `kill -9` of an earlier server its last processes may use the
 * shared memory for a moment: then the start is repeated.
 */
async function untilReady(
  start: () => Promise<GuardedProcess>,
  options: { path: string; user: string; max: number },
  logFile: string,
): Promise<GuardedProcess> {
  const deadline = performance.now() + startTimeoutMs;
  let server = await start();
  let ended = false;
  const watch = () => void server.exited.then(() => (ended = true));
  watch();
  for (;;) {
    const refusal = await refusalOf(options);
    if (refusal === undefined) return server;
    if (ended) {
      const full = fullness(dirname(logFile));
      if (full !== undefined)
        throw new LauncherError(`Postgres cannot start: there is ${full}. Its log is ${logFile}.`);
      const tail = logTail(logFile);
      if (!tail.includes('shared memory block') || performance.now() > deadline) {
        throw new LauncherError(`Postgres ended while starting. The end of ${logFile}:\n${tail}`);
      }
      server = await start();
      ended = false;
      watch();
    }
    if (performance.now() > deadline) {
      await server.stop();
      throw new LauncherError(`Postgres did not answer within ${startTimeoutMs / 1000} s: ${refusal}. See ${logFile}`);
    }
    await delay(20);
  }
}

async function refusalOf(options: { path: string; user: string; max: number }): Promise<string | undefined> {
  const sql = connect({ ...options, database: 'postgres', connect_timeout: 5 });
  try {
    await sql`select 1`;
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function createDatabases(open: () => connect.Sql, names: readonly string[]): Promise<void> {
  const sql = open();
  try {
    const rows = await sql<{ datname: string }[]>`select datname from pg_database`;
    const existing = new Set(rows.map((row) => row.datname));
    const missing = names.filter((name) => !existing.has(name));
    // At the same time: each is a copy of the template, and mostly waits for storage.
    await Promise.all(missing.map((name) => createDatabase(sql, name, missing)));
  } finally {
    await sql.end();
  }
}

async function createDatabase(sql: connect.Sql, name: string, missing: readonly string[]): Promise<void> {
  try {
    await sql`create database ${sql(name)}`;
    // By default every role may connect to every database.
    await sql`revoke all on database ${sql(name)} from public`;
  } catch (error) {
    if (!(error instanceof connect.PostgresError)) throw error;
    // Another launcher created it first. Which of the two may use it is decided later.
    if (alreadyThere.includes(error.code)) return;
    if (error.code !== insufficientPrivilege) throw error;
    const { user } = sql.options;
    throw new LauncherError(
      `The user ${user} of DATABASE_URL may not create databases. Let an administrator of that server allow it (alter role "${user}" createdb), or make them for it, with that owner: ${missing.join(', ')}.`,
      { cause: error },
    );
  }
}

async function dropDatabases(open: () => connect.Sql, names: readonly string[]): Promise<void> {
  const sql = open();
  try {
    for (const name of names) await sql`drop database if exists ${sql(name)} with (force)`;
  } finally {
    await sql.end();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
