import { setTimeout as delay } from 'node:timers/promises';
import { LauncherError } from './data-folder.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { logEnd, logTail } from './log-tail.ts';
import { type Crash, explainEnd, startRestartable } from './restartable.ts';

/** How a service is started. */
export interface ServiceCommand {
  readonly name: string;
  /** The TypeScript file, run by this Node. */
  readonly entry: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Called when the process crashes. */
  readonly onCrash: (crash: Crash) => void;
  /** Called with the process id when a standby process takes over. */
  readonly onTakeover: (pid: number) => void;
}

/** A service as a process that can be ended and started again on the same address and data. */
export interface ServiceProcess {
  readonly name: string;
  /** Of the running process, or of the last one. */
  readonly pid: number;
  /** Whether another process is at work in its place, as it said itself. */
  readonly isStandby: boolean;
  /** SIGKILL; resolves when it is gone. Not reported as a crash. */
  kill(): Promise<void>;
  /** SIGSTOP: everything stands still, connections stay open. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
  /** SIGTERM, then SIGKILL when it does not drain in time. */
  stop(): Promise<void>;
  /** Stops it where it runs, starts it, resolves when it serves or stands by. @throws LauncherError as the first start. */
  restart(): Promise<void>;
}

/**
 * How services run under Node: with a young generation of 8 MiB a half in place of 16 or more. What a request or a chunk of a
 * fleet leaves behind is dead by then all the same; a bulk pass takes as long, and a third less memory. And with an old one
 * of just under 2 GiB, far more than any service fills: from there on V8 lets it grow to four times what is alive before it
 * looks for garbage, below that to twice at most.
 * Without the last one SIGUSR1 opens an inspector that any process of the machine can use to read keys from memory.
 */
export const nodeOptions = ['--max-semi-space-size=8', '--max-old-space-size=2000', '--disable-sigusr1'];
/** The C library keeps what its threads gave free apart for each of them; two such heaps are enough, and 30 MiB less a service. */
const memoryEnv = { MALLOC_ARENA_MAX: '2' };

/** A start rebuilds views and may wait for the other services; beyond this it hangs. */
const startTimeoutMs = 60_000;

/** Longer than the 10 s a service gives itself to drain, so that it can say why it did not. */
const graceMs = 12_000;

/**
 * Starts a service; resolves when it says that it serves, or that it stands by for a process that does.
 * @throws LauncherError with the last words of its log when it ends before that, or says nothing for 60 s.
 */
export async function startService(command: ServiceCommand): Promise<ServiceProcess> {
  const { name, logFile, onCrash, onTakeover } = command;
  let isStandby = false;
  const launchIt = async () => {
    const { child, isStandby: standsBy, takeover } = await launch(command);
    isStandby = standsBy;
    void takeover.then(() => {
      isStandby = false;
      onTakeover(child.pid);
    });
    return child;
  };
  const own = await startRestartable({ name, logFile, launch: launchIt, onCrash });
  return {
    name,
    get pid() {
      return own.process.pid;
    },
    get isStandby() {
      return isStandby;
    },
    kill: own.kill,
    pause: () => own.process.signal('SIGSTOP'),
    resume: () => own.process.signal('SIGCONT'),
    stop: own.stop,
    restart: own.restart,
  };
}

/** @returns also the moment at which it serves in place of another one; that may never come */
async function launch(
  command: ServiceCommand,
): Promise<{ child: GuardedProcess; isStandby: boolean; takeover: Promise<void> }> {
  const ready = Promise.withResolvers<'ready' | 'standby'>();
  const takeover = Promise.withResolvers<void>();
  let hasStoodBy = false;
  const from = logEnd(command.logFile);
  const child = await startGuarded({
    command: process.execPath,
    args: [...nodeOptions, command.entry],
    env: { ...memoryEnv, ...command.env },
    cwd: '/',
    output: command.logFile,
    onLine: (line) => {
      const said = saidIn(line);
      if (said === undefined) return;
      ready.resolve(said);
      if (said === 'standby') hasStoodBy = true;
      else if (hasStoodBy) takeover.resolve();
    },
    stopSignal: 'TERM',
    graceMs,
  });
  // Aborting it is how the wait ends early; its rejection then says nothing.
  const patience = new AbortController();
  const outcome = await Promise.race([
    ready.promise,
    child.exited,
    delay(startTimeoutMs, 'silent' as const, { signal: patience.signal }).catch(() => 'silent' as const),
  ]);
  patience.abort();
  if (outcome === 'ready' || outcome === 'standby')
    return { child, isStandby: outcome === 'standby', takeover: takeover.promise };
  if (outcome === 'silent') {
    await child.stop();
    throw new LauncherError(
      `${command.name} did not serve within ${startTimeoutMs / 1000} s. The end of ${command.logFile} says:\n${logTail(command.logFile, { from })}`,
    );
  }
  throw new LauncherError(explainEnd(command.name, command.logFile, outcome.status, from));
}

/** Services print one line of JSON when they serve, `{"ready":true,…}`, or begin to stand by, `{"standby":true,…}`. */
function saidIn(line: string): 'ready' | 'standby' | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const { ready, standby } = Object(JSON.parse(line));
    if (ready === true) return 'ready';
    return standby === true ? 'standby' : undefined;
  } catch {
    // Something else that happens to begin with a brace.
    return undefined;
  }
}
