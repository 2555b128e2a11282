import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

/**
 * Runs the command in its arguments as long as the other end of its standard input is open. The pipe closes when the launcher
 * ends, in whatever way. So nothing that a launcher started outlives it, even if it is paused, or does not know launchers (like
 * Postgres and NATS). The guard does not poll, and needs only a shell.
 *
 * Descriptor 3 reports the command's process id and, at the end, its exit status. Then all processes that the command left
 * in its process group are killed, the guard itself included.
 */
const guard = `
signal=$1 grace_tenths=$2; shift 2
exec 4<&0 </dev/null
INTERLOCK_PARENT_PID=$$ "$@" 3>&- 4<&- &
child=$!
echo "$child" >&3
(
  exec 3>&-
  read -r _ <&4
  kill -CONT "$child"
  kill -"$signal" "$child"
  while [ "$grace_tenths" -gt 0 ] && kill -0 "$child"; do sleep 0.1; grace_tenths=$((grace_tenths - 1)); done
  kill -KILL "$child"
) >/dev/null 2>&1 &
exec 4<&-
wait "$child"
echo "$?" >&3
kill -KILL 0
`;

/** What to run, and how to end it. */
export interface GuardedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The working folder; must be reachable for `user`. */
  readonly cwd: string;
  /** The file to which standard error, and standard output unless `onLine` takes it, are appended; or the launcher's own. */
  readonly output: string | 'terminal';
  /** Called with each line the command prints on standard output. */
  readonly onLine?: ((line: string) => void) | undefined;
  /** The signal that requests the end of the command. */
  readonly stopSignal: 'TERM' | 'INT';
  /** How long the command may take to end before it is killed, in milliseconds. */
  readonly graceMs: number;
  /** Runs as this user instead of the launcher's (root only). */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

/** How a process ended: its exit status; 128 + n after signal n, as shells count. */
export interface Exit {
  readonly status: number;
}

/** A running command. */
export interface GuardedProcess {
  readonly pid: number;
  /** Never rejects. */
  readonly exited: Promise<Exit>;
  /** Sends a signal to the command itself. Does nothing if the command has ended. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): void;
  /** Requests its end, kills it after the grace time, resolves when it has ended. May be called more than once. */
  stop(): Promise<Exit>;
}

/** A function for each running process that ends it, so that a launcher can wait for all before it ends. */
const live = new Set<() => Promise<unknown>>();
let isLeaving = false;

/**
 * Ends everything that still runs at the same time, and prevents new starts. For the exit, when the order has been kept
 * already or no longer matters.
 */
export async function endAllGuarded(): Promise<void> {
  isLeaving = true;
  await Promise.all([...live].map((stop) => stop()));
}

/**
 * Starts a command under a guard.
 * @throws Error when the guard itself cannot be started; a command that does not exist ends with status 127, the reason in its output.
 */
export async function startGuarded(command: GuardedCommand): Promise<GuardedProcess> {
  if (isLeaving) throw new Error(`${command.command} is not started any more: the launcher is on its way out`);
  const own = command.output === 'terminal';
  const output = own ? undefined : openSync(command.output, 'a', 0o600);
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      guard,
      'interlock-guard',
      command.stopSignal,
      String(Math.ceil(command.graceMs / 100)),
      command.command,
      ...command.args,
    ],
    {
      // Its own session: Ctrl-C in the terminal reaches the launcher only, which then stops everything in order.
      detached: true,
      cwd: command.cwd,
      env: command.env ?? process.env,
      stdio: ['pipe', command.onLine === undefined ? (output ?? 'inherit') : 'pipe', output ?? 'inherit', 'pipe'],
      ...command.user,
    },
  );
  if (output !== undefined) closeSync(output);
  return watched(child, command);
}

/** Follows the guard's reports. Resolves with the first, the command's process id. */
async function watched(child: ChildProcess, command: GuardedCommand): Promise<GuardedProcess> {
  const { stdin, stdout } = child;
  const report = child.stdio[3];
  if (stdin === null || !(report instanceof Readable)) throw new Error('the guard was started without its pipes');
  // The guard may have ended before the lifeline is closed. Then the pipe has no reader.
  stdin.on('error', () => undefined);
  if (stdout !== null && command.onLine !== undefined) createInterface({ input: stdout }).on('line', command.onLine);

  const stop = () => {
    stdin.end();
    return exited.promise;
  };
  live.add(stop);

  const started = Promise.withResolvers<number>();
  const exited = Promise.withResolvers<Exit>();
  const reports: number[] = [];
  createInterface({ input: report }).on('line', (line) => {
    if (reports.push(Number(line)) === 1) started.resolve(Number(line));
  });
  child.once('error', (error) => {
    live.delete(stop);
    started.reject(error);
    exited.resolve({ status: 126 });
  });
  child.once('close', () => {
    live.delete(stop);
    started.reject(new Error(`${command.command} could not be started`));
    // Without a second report the guard was killed; its reader still waits for the lifeline's end, to kill the command.
    if (reports.length < 2) stdin.end();
    exited.resolve({ status: reports[1] ?? 137 });
  });

  const pid = await started.promise;
  return {
    pid,
    exited: exited.promise,
    signal: (name) => {
      if (reports.length === 1) process.kill(pid, name);
    },
    stop,
  };
}
