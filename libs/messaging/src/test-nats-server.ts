import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** The NATS server of one test. It can be killed and started again, with or without its data. */
export interface TestNatsServer {
  readonly url: string;
  /** Ends the server at once, as a crash would. */
  kill(): Promise<void>;
  /** Pauses it with its connections open; resolves when its last thread has stopped. */
  pause(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Deletes what JetStream stored; only while it is not running. */
  wipe(): Promise<void>;
  remove(): Promise<void>;
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no TCP port');
  return address.port;
};

/** Whether no thread of a process runs any more (proc_pid_stat(5): `T`, stopped on a signal). @throws Error when it has ended */
const standsStill = async (pid: number): Promise<boolean> => {
  const tasks = `/proc/${pid}/task`;
  const stats = await Promise.all((await readdir(tasks)).map((id) => readFile(join(tasks, id, 'stat'), 'utf8')));
  // The state follows the name of the command, which is in brackets.
  return stats.every((stat) => stat.slice(stat.lastIndexOf(')')).startsWith(') T'));
};

/** Starts `nats-server` (or `NATS_SERVER`) with JetStream in a temporary folder. @throws Error when it cannot be started */
export const startTestNatsServer = async (): Promise<TestNatsServer> => {
  const binary = process.env.NATS_SERVER ?? 'nats-server';
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'interlock-nats-'));
  const store = join(folder, 'jetstream');
  let running: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    const child = spawn(binary, ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', store], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    running = child;
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.on('error', (cause) =>
        reject(new Error(`${binary} cannot be started; NATS_SERVER names another`, { cause })),
      );
      child.on('exit', (code) => reject(new Error(`${binary} ended with ${code}: ${output}`)));
      child.stderr.on('data', (chunk) => {
        output += chunk;
        if (output.includes('Server is ready')) resolve();
      });
    });
  };
  const kill = async (): Promise<void> => {
    if (!running || running.exitCode !== null) return;
    const ended = once(running, 'exit');
    running.kill('SIGKILL');
    await ended;
    running = undefined;
  };

  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    start,
    kill,
    async pause() {
      running?.kill('SIGSTOP');
      // The signal arrives later: until then a thread on another processor may respond to a message.
      while (running?.pid !== undefined && !(await standsStill(running.pid))) await delay(1);
    },
    wipe: () => rm(store, { recursive: true, force: true }),
    async remove() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
