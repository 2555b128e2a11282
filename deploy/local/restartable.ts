import { dirname } from 'node:path';
import { fullness } from './disk-space.ts';
import type { GuardedProcess } from './guarded-process.ts';
import { logEnd, logTail } from './log-tail.ts';

/** The unrequested end of a process. */
export interface Crash {
  readonly name: string;
  /** Exit status; 128 + n after signal n. */
  readonly status: number;
  /** For users: what happened, and the end of the log. */
  readonly message: string;
  /** Starts it again on the same address and data. @returns its process id, once it serves @throws LauncherError as the first start */
  readonly restart: () => Promise<number>;
}

/** The default for a crash: prints its message. */
export const sayCrash = ({ message }: Crash): void => console.error(`\n${message}`);

/** A command that can be started repeatedly. */
export interface RestartableCommand {
  readonly name: string;
  readonly logFile: string;
  /** Resolves when it serves. @throws LauncherError if it does not, with nothing left running */
  readonly launch: () => Promise<GuardedProcess>;
  /** Called when the process crashes. */
  readonly onCrash: (crash: Crash) => void;
}

/** A process that can be ended and started again. */
export interface Restartable {
  /** The running process, or the last one. */
  readonly process: GuardedProcess;
  /** SIGKILL; resolves when it has ended. Not reported as a crash. */
  kill(): Promise<void>;
  /** Requests its end, then kills it; resolves when it has ended. A restart in progress is cancelled. */
  stop(): Promise<void>;
  /** Stops it if it runs, and starts it. @throws LauncherError like the first start */
  restart(): Promise<void>;
}

/** Starts it for the first time. @throws LauncherError of `launch` */
export async function startRestartable({ name, logFile, launch, onCrash }: RestartableCommand): Promise<Restartable> {
  let startedAt = logEnd(logFile);
  let running = await launch();
  let isEndWanted = false;
  let isStopped = false;
  let restarting: Promise<void> | undefined;
  const watch = (child: GuardedProcess) =>
    void child.exited.then(({ status }) => {
      if (isEndWanted) return;
      const bringBack = async () => {
        await restart();
        return running.pid;
      };
      onCrash({ name, status, message: explainEnd(name, logFile, status, startedAt), restart: bringBack });
    });
  const startAgain = async () => {
    isEndWanted = true;
    isStopped = false;
    await running.stop();
    startedAt = logEnd(logFile);
    running = await launch();
    // A stop during the restart waits for this process.
    if (isStopped) return;
    isEndWanted = false;
    watch(running);
  };
  const restart = async () => {
    restarting = startAgain();
    await restarting;
  };
  watch(running);
  return {
    get process() {
      return running;
    },
    kill: async () => {
      isEndWanted = true;
      running.signal('SIGKILL');
      await running.exited;
    },
    stop: async () => {
      isEndWanted = true;
      isStopped = true;
      // restart() throws this failure.
      await restarting?.catch(() => undefined);
      await running.stop();
    },
    restart,
  };
}

/** How a process ended, and the end of its log. @param startedAt the end of its log when it was started */
export function explainEnd(name: string, logFile: string, status: number, startedAt: number): string {
  const how = status > 128 ? `was ended by signal ${status - 128}` : `ended with status ${status}`;
  // The end of a log without space says nothing, or what the cause is not.
  const full = fullness(dirname(logFile));
  if (full !== undefined) return `${name} ${how}: there is ${full}. Its log is ${logFile}.`;
  const words = logTail(logFile, { from: startedAt });
  return words === ''
    ? `${name} ${how}. ${logFile} has no output of it.`
    : `${name} ${how}. The end of ${logFile} says:\n${words}`;
}
