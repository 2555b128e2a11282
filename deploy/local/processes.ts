import { setTimeout as delay } from 'node:timers/promises';
import { bundledEntry } from './bundled-entry.ts';
import { LauncherError } from './data-folder.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { logEnd, logTail } from './log-tail.ts';
import { type Crash, explainEnd, startRestartable } from './restartable.ts';

/** How a service is started. */
export interface ServiceCommand {
  readonly name: string;
  /** The TypeScript file, or its bundle (`bundledEntry`), run by this Node. */
  readonly entry: string;
  /** Options of Node in addition to `nodeOptions`; each replaces one of the same name. */
  readonly nodeOptions?: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Called when the process crashes. */
  readonly onCrash: (crash: Crash) => void;
}

/** A service as a process that can be ended and started again on the same address and data. */
export interface ServiceProcess {
  readonly name: string;
  /** The id of the running process, or of the last one. */
  readonly pid: number;
  /** Whether it serves; false if it reported that it is not ready, because its folder is not that of the service's host. */
  readonly isReady: boolean;
  /** SIGKILL; resolves when it has ended. Not reported as a crash. */
  kill(): Promise<void>;
  /** SIGSTOP: the process does nothing, and connections stay open. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
  /** SIGTERM, then SIGKILL when it does not drain in time. */
  stop(): Promise<void>;
  /** Stops it if it runs, starts it, resolves when it serves or reports that it is not ready. @throws LauncherError like the first start */
  restart(): Promise<void>;
}

/**
 * How services run under Node. The young generation has 8 MiB a half instead of 16 or more: what a request or a chunk of a fleet
 * allocates is dead by then anyway, a bulk pass takes as long, and memory shrinks by a third. The old generation is just below
 * 2 GiB, far more than any service fills: from 2 GiB on V8 lets it grow to four times the live memory before it collects garbage,
 * below that at most to twice.
 * Without the last option SIGUSR1 opens an inspector that any process of the machine can use to read keys from memory.
 */
export const nodeOptions = ['--max-semi-space-size=8', '--max-old-space-size=2000', '--disable-sigusr1'];
/**
 * The C library keeps freed memory for each of its threads: two such heaps are enough, and save 30 MiB for each service. Buffers of a
 * megabyte stay outside of them, so that they leave no holes there: 20 MiB of the disk service under hostile clients.
 */
const memoryEnv = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '1048576', MALLOC_TRIM_THRESHOLD_: '2097152' };

/** A start rebuilds views and may wait for the other services. After this time it hangs. In milliseconds. */
const startTimeoutMs = 60_000;

/** Longer than the 10 s that a service takes to drain, so that it can report why it did not. */
const graceMs = 12_000;

/**
 * Starts a service; resolves when it reports that it serves, or that it is not ready.
 * @throws LauncherError with the end of its log if it ends before that, or reports nothing for 60 s
 */
export async function startService(command: ServiceCommand): Promise<ServiceProcess> {
  const { name, logFile, onCrash } = command;
  let isReady = false;
  const launchIt = async () => {
    const launched = await launch(command);
    isReady = launched.isReady;
    return launched.child;
  };
  const own = await startRestartable({ name, logFile, launch: launchIt, onCrash });
  return {
    name,
    get pid() {
      return own.process.pid;
    },
    get isReady() {
      return isReady;
    },
    kill: own.kill,
    pause: () => own.process.signal('SIGSTOP'),
    resume: () => own.process.signal('SIGCONT'),
    stop: own.stop,
    restart: own.restart,
  };
}

async function launch(command: ServiceCommand): Promise<{ child: GuardedProcess; isReady: boolean }> {
  const ready = Promise.withResolvers<'ready' | 'not ready'>();
  const from = logEnd(command.logFile);
  const child = await startGuarded({
    command: process.execPath,
    args: [...nodeOptions, ...(command.nodeOptions ?? []), bundledEntry(command.entry, command.env)],
    env: { ...memoryEnv, ...command.env },
    cwd: '/',
    output: command.logFile,
    onLine: (line) => {
      const said = saidIn(line);
      if (said !== undefined) ready.resolve(said);
    },
    stopSignal: 'TERM',
    graceMs,
  });
  // Aborting it ends the wait early. Its rejection then has no meaning.
  const patience = new AbortController();
  const outcome = await Promise.race([
    ready.promise,
    child.exited,
    delay(startTimeoutMs, 'silent' as const, { signal: patience.signal }).catch(() => 'silent' as const),
  ]);
  patience.abort();
  if (outcome === 'ready' || outcome === 'not ready') return { child, isReady: outcome === 'ready' };
  if (outcome === 'silent') {
    await child.stop();
    throw new LauncherError(
      `${command.name} did not serve within ${startTimeoutMs / 1000} s. The end of ${command.logFile} says:\n${logTail(command.logFile, { from })}`,
    );
  }
  throw new LauncherError(explainEnd(command.name, command.logFile, outcome.status, from));
}

/** Services print one line of JSON when they serve, `{"ready":true,…}`, or are not ready, `{"notReady":true,…}`. */
function saidIn(line: string): 'ready' | 'not ready' | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { ready, notReady } = Object(JSON.parse(line));
    if (ready === true) return 'ready';
    return notReady === true ? 'not ready' : undefined;
  } catch {
    // Another text that starts with a brace.
    return undefined;
  }
}
