import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { NatsAccess } from '@interlock/messaging';
import { connect, errors, type NatsConnection, nkeyAuthenticator } from '@nats-io/transport-node';
import { type DataFolder, LauncherError } from './data-folder.ts';
import { fullness } from './disk-space.ts';
import { freePort } from './free-port.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { logTail } from './log-tail.ts';
import { type NatsAuthorization, natsAuthorization } from './nats-authorization.ts';
import { openNatsUsers } from './nats-users.ts';
import { natsServer } from './programs.ts';
import { type Crash, sayCrash, startRestartable } from './restartable.ts';
import type { ServiceName } from './services.ts';
import { installProgram } from './system-program.ts';

/** A NATS server with JetStream. */
export interface Nats {
  /** What the server is and where it came from, for the user. */
  readonly description: string;
  /** Its process; undefined when the server is not ours. */
  readonly pid: number | undefined;
  /** How its operator, who creates streams, reaches it. */
  readonly access: NatsAccess;
  /** Settings with which a service reaches it. */
  settingsOf(service: ServiceName): Readonly<Record<string, string>>;
  /** A connection as its operator. */
  connect(): Promise<NatsConnection>;
  /** Ends an own server. A given server is not changed. */
  stop(): Promise<void>;
  /** Ends an own server with SIGKILL; it stays down until `restart`. @throws LauncherError for a given server */
  kill(): Promise<void>;
  /** Starts an own server again on the same port and data, and stops it first if it runs. @throws LauncherError for a given server */
  restart(): Promise<void>;
}

/** Where a server runs, and for whom. */
export interface NatsOptions {
  readonly data: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Progress, a line each. */
  readonly say: (line: string) => void;
  /**
   * Gives an own server users: an operator and each service, with permissions for the streams and subjects of that system.
   * Without users every client may do everything: for the servers of tests and benches.
   */
  readonly users?: Pick<NatsAuthorization, 'namespace' | 'partitionCount'>;
  /** Called when a server started here crashes; by default the end of its log goes to standard error. */
  readonly onCrash?: (crash: Crash) => void;
}

/** JetStream reads its files at a start. 60 s is far more than a local cloud needs. */
const startTimeoutMs = 60_000;

/**
 * The server at `NATS_URL`, or an own one with its streams in the data folder, on a free port. A missing `nats-server` is
 * installed with the system's package manager if that is possible.
 *
 * The launcher, as its operator, and every service reach a given server with `NATS_SEED_FILE` and `NATS_CA_FILE`, if these are
 * set.
 * @throws LauncherError if no server can be reached, installed or started; says what to do
 */
export async function startNats(options: NatsOptions): Promise<Nats> {
  return options.env.NATS_URL ? givenNats(options.env.NATS_URL, options.env) : ownNats(options);
}

async function givenNats(url: string, env: NatsOptions['env']): Promise<Nats> {
  const { NATS_SEED_FILE: seedFile, NATS_CA_FILE: caFile } = env;
  const access: NatsAccess = {
    servers: url.split(','),
    ...(seedFile ? { seed: readFileSync(seedFile, 'utf8').trim() } : {}),
    ...(caFile ? { caFile } : {}),
  };
  const refusal = await refusalOf(access);
  if (refusal !== undefined) throw new LauncherError(`The server behind NATS_URL is of no use: ${refusal}`);
  const settings = {
    NATS_URL: url,
    ...(seedFile ? { NATS_SEED_FILE: seedFile } : {}),
    ...(caFile ? { NATS_CA_FILE: caFile } : {}),
  };
  return {
    description: 'NATS given by NATS_URL',
    pid: undefined,
    access,
    settingsOf: () => settings,
    connect: () => connectAs(access),
    stop: async () => undefined,
    kill: async () => Promise.reject(notOurs()),
    restart: async () => Promise.reject(notOurs()),
  };
}

const notOurs = () => new LauncherError('The server behind NATS_URL is not ours to end.');

async function ownNats({ data, env, say, users, onCrash = sayCrash }: NatsOptions): Promise<Nats> {
  const binary = findNats(env.PATH ?? '') ?? (await installed(env, say));
  const port = await freePort();
  const url = `nats://127.0.0.1:${port}`;
  const logFile = join(data.folder('logs'), 'nats.log');
  const configFile = join(data.folder('nats'), 'nats.conf');
  const known = users && openNatsUsers(data);
  const access: NatsAccess = {
    servers: [url],
    ...(known === undefined ? {} : { seed: known.operator.seed, inboxPrefix: '_INBOX_operator' }),
  };
  const authorization =
    known && natsAuthorization({ ...users, keyOf: (user) => known[user].publicKey, isOperatorUnlimited: true });
  const configuration = configurationOf(port, data.folder('nats', 'jetstream'), authorization);
  writeFileSync(configFile, configuration, { mode: 0o600 });
  const launch = async () => {
    const started = await startGuarded({
      command: binary,
      args: ['--config', configFile],
      cwd: data.path('nats'),
      output: logFile,
      stopSignal: 'TERM',
      graceMs: 10_000,
    });
    await untilReady(started, access, logFile);
    return started;
  };
  const server = await startRestartable({ name: 'NATS', logFile, launch, onCrash });
  return {
    description: `NATS (${binary})`,
    get pid() {
      return server.process.pid;
    },
    access,
    settingsOf: (service) => ({
      NATS_URL: url,
      ...(known === undefined ? {} : { NATS_SEED_FILE: known[service].seedFile }),
    }),
    connect: () => connectAs(access),
    stop: server.stop,
    kill: server.kill,
    restart: server.restart,
  };
}

/**
 * By default the server refuses streams that reserve more than three quarters of the space that is free when it starts, also those it
 * has already. Whether there is enough was checked before (`requireSpace`), so this limit is out of reach.
 */
const storeMax = '1TB';

/** JSON strings are valid in this format, and a path may contain any character. */
function configurationOf(port: number, store: string, authorization = ''): string {
  const jetstream = `jetstream { store_dir: ${JSON.stringify(store)}, max_file_store: ${storeMax} }`;
  return [`listen: "127.0.0.1:${port}"`, jetstream, authorization, ''].join('\n');
}

function findNats(path: string): string | undefined {
  const folders = [...path.split(delimiter).filter(Boolean), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'];
  return folders.map((folder) => join(folder, 'nats-server')).find((file) => existsSync(file));
}

async function installed(
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
): Promise<string> {
  await installProgram(natsServer, env, say);
  const binary = findNats(env.PATH ?? '');
  if (binary === undefined)
    throw new LauncherError('The package was installed, but there is no nats-server on the PATH.');
  return binary;
}

async function untilReady(server: GuardedProcess, access: NatsAccess, logFile: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  let ended = false;
  void server.exited.then(() => (ended = true));
  for (;;) {
    const refusal = await refusalOf(access);
    if (refusal === undefined) return;
    const full = ended ? fullness(dirname(logFile)) : undefined;
    if (full !== undefined) throw new LauncherError(`NATS cannot start: there is ${full}. Its log is ${logFile}.`);
    if (ended) throw new LauncherError(`NATS ended while starting. The end of ${logFile}:\n${logTail(logFile)}`);
    if (performance.now() > deadline) {
      await server.stop();
      throw new LauncherError(`NATS did not answer within ${startTimeoutMs / 1000} s: ${refusal}. See ${logFile}`);
    }
    await delay(20);
  }
}

/** A connection to servers that already respond. Unlike a service, it does not wait for them. */
const connectAs = ({ servers, seed, caFile, inboxPrefix }: NatsAccess, timeoutMs = 10_000): Promise<NatsConnection> =>
  connect({
    servers: [...servers],
    reconnect: false,
    timeout: timeoutMs,
    ...(seed === undefined ? {} : { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) }),
    ...(caFile === undefined ? {} : { tls: { caFile, handshakeFirst: true } }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
  });

/** Why the server is not usable (yet): unreachable, or without JetStream. */
async function refusalOf(access: NatsAccess): Promise<string | undefined> {
  try {
    const connection = await connectAs(access, 2_000);
    try {
      const answer = await connection.request('$JS.API.INFO', '', { timeout: 2_000 });
      const { error } = answer.json<{ error?: { description: string } }>();
      return error === undefined ? undefined : `JetStream: ${error.description}`;
    } finally {
      await connection.close();
    }
  } catch (error) {
    if (error instanceof errors.RequestError && error.isNoResponders()) {
      return 'it runs without JetStream. Start it with nats-server --jetstream, or a block jetstream {} in its configuration.';
    }
    return error instanceof Error ? error.message : String(error);
  }
}
