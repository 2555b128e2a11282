import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import { ConfigError, readConfig } from './config.ts';
import { int, optional } from './config-readers.ts';
import { type Logger, logger } from './logger.ts';
import { createScope, type Scope } from './scope.ts';

/** Exit codes of a process. */
export const ExitCode = {
  /** It was stopped, and everything closed in time. */
  stopped: 0,
  /** Start failed, an error was not caught, or closing failed or took too long. */
  failed: 1,
  /** The settings are invalid (`EX_CONFIG` of sysexits.h). */
  badConfig: 78,
} as const;

/** What `start` gets. */
export interface Startup {
  readonly scope: Scope;
  readonly log: Logger;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface RunOptions {
  /** Service name, for the log and the ready line. */
  readonly name: string;
  /** Normally `process.env`; `main.ts` is the only place that names it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Opens everything, registers each part on the scope, and returns the address of the service. */
  readonly start: (startup: Startup) => Promise<{ readonly address: string }>;
}

/** Settings of the end of a process; spread into a service's own specification, so that they are shown with the others. */
export const runSpec = {
  interlockParentPid: optional(int('Process whose end ends this one', { min: 1 })),
  shutdownGraceMs: int('Longest shutdown after SIGTERM', {
    min: 100,
    default: 10_000,
  }),
} as const;

/** How long closing may take, in milliseconds, if the settings could not be read. */
const GRACE_MS_UNREAD = 10_000;

/** A part that takes longer to close is named in the log, in milliseconds. */
const SLOW_CLOSE_MS = 500;

/** Time between two checks of the parent process, in milliseconds. */
const PARENT_POLL_MS = 500;

/**
 * Runs a service as this process: starts it, prints one line `{"ready":true,"service":…,"address":…}` on standard
 * output when it serves, and on SIGTERM or SIGINT closes what was opened in reverse order. A second signal ends at once.
 *
 * With `INTERLOCK_PARENT_PID` the service also stops when that process has ended, so that a killed launcher leaves no service
 * behind. The parent is polled: standard input closes only if no other process holds that pipe, and an IPC channel exists only
 * under `fork`.
 */
export async function runService({ name, env, start }: RunOptions): Promise<void> {
  const clock = systemClock;
  const log = logger({ service: name, clock });
  // Parts that close slowly are logged, so that a slow stop explains itself.
  let closing = { name: '', sinceMs: 0 };
  const closed = (): void => {
    const tookMs = Math.round(clock.monotonicMs() - closing.sinceMs);
    if (closing.name !== '' && tookMs >= SLOW_CLOSE_MS) log.info('took long to close', { part: closing.name, tookMs });
  };
  const scope = createScope((name) => {
    closed();
    closing = { name, sinceMs: clock.monotonicMs() };
  });
  let stopping = false;
  let graceMs: number = GRACE_MS_UNREAD;

  const crash = (event: string) => (error: unknown) => {
    log.error(event, { error });
    process.exit(ExitCode.failed);
  };
  process.on('uncaughtException', crash('uncaught exception'));
  process.on('unhandledRejection', crash('unhandled rejection'));

  const stop = async (why: string, code: number): Promise<void> => {
    if (stopping) {
      log.warn('stopping at once', { why, stillOpen: scope.open() });
      process.exit(ExitCode.failed);
    }
    stopping = true;
    log.info('stopping', { why });
    const timer = setTimeout(() => {
      log.error('did not close in time', { graceMs, stillOpen: scope.open() });
      process.exit(ExitCode.failed);
    }, graceMs);
    try {
      await scope.close();
    } catch (error) {
      log.error('closing failed', { error });
      process.exit(ExitCode.failed);
    }
    closed();
    clearTimeout(timer);
    log.info('stopped');
    process.exit(code);
  };
  process.on('SIGTERM', () => void stop('SIGTERM', ExitCode.stopped));
  process.on('SIGINT', () => void stop('SIGINT', ExitCode.stopped));

  try {
    const { interlockParentPid, shutdownGraceMs } = readConfig(env, runSpec);
    graceMs = shutdownGraceMs;
    if (interlockParentPid !== undefined) {
      watchParent(interlockParentPid, () => void stop('parent is gone', ExitCode.stopped));
    }
    const { address } = await start({ scope, log, clock, env });
    if (!stopping) process.stdout.write(`${JSON.stringify({ ready: true, service: name, address })}\n`);
  } catch (error) {
    // A stop during the start makes the start fail, which is not an error.
    if (stopping) return log.warn('start was interrupted', { error });
    log.error('start failed', { error });
    await stop('start failed', error instanceof ConfigError ? ExitCode.badConfig : ExitCode.failed);
  }
}

/**
 * Calls `gone` once the process `pid` no longer exists. A zombie still has its pid: if it was the direct parent, the change of
 * `ppid` shows its end.
 */
function watchParent(pid: number, gone: () => void): void {
  const direct = process.ppid === pid;
  const timer = setInterval(() => {
    if (direct ? process.ppid === pid : exists(pid)) return;
    clearInterval(timer);
    gone();
  }, PARENT_POLL_MS);
  timer.unref();
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // EPERM: the process exists and belongs to another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
