import { existsSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, errors } from '@nats-io/transport-node';
import { type DataFolder, LauncherError } from './data-folder.ts';
import { freePort } from './free-port.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { logTail } from './log-tail.ts';
import { natsServer } from './programs.ts';
import { type Crash, sayCrash, startRestartable } from './restartable.ts';
import { installProgram } from './system-program.ts';

/** A NATS server with JetStream. */
export interface Nats {
  /** What it is and where it came from, for the person at the terminal. */
  readonly description: string;
  /** Its process; undefined when the server is not ours. */
  readonly pid: number | undefined;
  readonly url: string;
  /** Deletes every stream whose name begins so, with its messages and consumers. */
  deleteStreams(prefix: string): Promise<void>;
  /** Ends a server of ours; a server that was given is left alone. */
  stop(): Promise<void>;
  /** Ends a server of ours with SIGKILL; it stays down until `restart`. @throws LauncherError when it is not ours. */
  kill(): Promise<void>;
  /** Starts a server of ours again on the same port and data, stopping it first where it runs. @throws LauncherError when it is not ours. */
  restart(): Promise<void>;
}

/** JetStream reads its files back at a start; 60 s is far more than a local cloud holds. */
const startTimeoutMs = 60_000;

/**
 * The server behind `NATS_URL`, or one of our own with its streams in the data folder, on a free port. A missing
 * `nats-server` is installed with the system's package manager where that is possible.
 * @param onCrash told when one of our own ends although nobody asked it to; by default its last words go to standard error
 * @throws LauncherError when none can be reached, installed or started; says what to do.
 */
export async function startNats(
  data: DataFolder,
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
  onCrash: (crash: Crash) => void = sayCrash,
): Promise<Nats> {
  return env.NATS_URL ? givenNats(env.NATS_URL) : ownNats(data, env, say, onCrash);
}

async function givenNats(url: string): Promise<Nats> {
  const refusal = await refusalOf(url);
  if (refusal !== undefined) throw new LauncherError(`The server behind NATS_URL is of no use: ${refusal}`);
  return {
    description: 'NATS given by NATS_URL',
    pid: undefined,
    url,
    deleteStreams: (prefix) => deleteStreams(url, prefix),
    stop: async () => undefined,
    kill: async () => Promise.reject(notOurs()),
    restart: async () => Promise.reject(notOurs()),
  };
}

const notOurs = () => new LauncherError('The server behind NATS_URL is not ours to end.');

async function ownNats(
  data: DataFolder,
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
  onCrash: (crash: Crash) => void,
): Promise<Nats> {
  const binary = findNats(env.PATH ?? '') ?? (await installed(env, say));
  const port = await freePort();
  const url = `nats://127.0.0.1:${port}`;
  const logFile = join(data.folder('logs'), 'nats.log');
  const configFile = join(data.folder('nats'), 'nats.conf');
  writeFileSync(configFile, configuration(port, data.folder('nats', 'jetstream')), { mode: 0o600 });
  const launch = async () => {
    const started = await startGuarded({
      command: binary,
      args: ['--config', configFile],
      cwd: data.path('nats'),
      output: logFile,
      stopSignal: 'TERM',
      graceMs: 10_000,
    });
    await untilReady(started, url, logFile);
    return started;
  };
  const server = await startRestartable({ name: 'NATS', logFile, launch, onCrash });
  return {
    description: `NATS (${binary})`,
    get pid() {
      return server.process.pid;
    },
    url,
    deleteStreams: (prefix) => deleteStreams(url, prefix),
    stop: server.stop,
    kill: server.kill,
    restart: server.restart,
  };
}

/** JSON strings are valid in this format, and a path may hold anything. */
function configuration(port: number, store: string): string {
  return [`listen: "127.0.0.1:${port}"`, `jetstream { store_dir: ${JSON.stringify(store)} }`, ''].join('\n');
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

async function untilReady(server: GuardedProcess, url: string, logFile: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  let ended = false;
  void server.exited.then(() => (ended = true));
  for (;;) {
    const refusal = await refusalOf(url);
    if (refusal === undefined) return;
    if (ended) throw new LauncherError(`NATS ended while starting. The end of ${logFile}:\n${logTail(logFile)}`);
    if (performance.now() > deadline) {
      await server.stop();
      throw new LauncherError(`NATS did not answer within ${startTimeoutMs / 1000} s: ${refusal}. See ${logFile}`);
    }
    await delay(20);
  }
}

async function deleteStreams(url: string, prefix: string): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    // One answer holds up to 1,024 names; what is left is asked for again.
    for (;;) {
      const answer = await connection.request('$JS.API.STREAM.NAMES', JSON.stringify({ subject: '>' }));
      const { streams } = answer.json<{ streams: string[] | null }>();
      const matching = (streams ?? []).filter((name) => name.startsWith(prefix));
      if (matching.length === 0) return;
      for (const name of matching) await connection.request(`$JS.API.STREAM.DELETE.${name}`);
    }
  } finally {
    await connection.close();
  }
}

/** Why the server is not usable (yet): unreachable, or without JetStream. */
async function refusalOf(url: string): Promise<string | undefined> {
  try {
    const connection = await connect({ servers: url, reconnect: false, timeout: 2_000 });
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
