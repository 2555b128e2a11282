import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { freePort } from '@interlock/local/free-port.ts';

/** A cluster and a namespace in it. */
export interface ClusterPlace {
  /** A context of the kubeconfig; the current one when undefined. */
  readonly context: string | undefined;
  readonly namespace: string;
}

/** kubectl for one place. Its errors are LauncherErrors that say what to do. */
export interface Kubectl {
  readonly place: ClusterPlace;
  /** Runs a command to its end. @returns its standard output. @throws LauncherError */
  run(args: readonly string[], input?: string): Promise<string>;
  /** Runs a command with JSON output. */
  json(args: readonly string[]): Promise<unknown>;
  /** Passes on each line of a command until it ends. @throws LauncherError when it fails */
  lines(args: readonly string[], line: (text: string) => void): Promise<void>;
  /**
   * Forwards a free local port to a port of a Service or pod, until `end`.
   * @param target `svc/identity`, `pod/disk-0`
   * @returns `127.0.0.1:<port>`
   * @throws LauncherError when the target does not exist or respond
   */
  forward(target: string, port: number): Promise<string>;
  /** As `forward`, and again on the same local port whenever it ends, as it does with its pod. */
  keepForward(target: string, port: number): Promise<string>;
  /** Ends every command that still runs. */
  end(): void;
}

/** Longest start of a port-forward, and the pause before an ended one is restarted, in milliseconds. */
const FORWARD_MS = 15_000;
const FORWARD_AGAIN_MS = 500;

/**
 * @param env with PATH and KUBECONFIG
 * @param limitMs longest time of a command that runs to its end, and of the start of a port-forward; by default none, and 15 s
 */
export const openKubectl = (place: ClusterPlace, env: NodeJS.ProcessEnv, limitMs?: number): Kubectl => {
  const { context, namespace } = place;
  const common = [...(context === undefined ? [] : ['--context', context]), '--namespace', namespace];
  const running = new Set<ChildProcess>();
  /** Starts a command. `ended` rejects with kubectl's error. */
  const start = (args: readonly string[], input?: string) => {
    const stdin = input === undefined ? 'ignore' : 'pipe';
    const child = spawn('kubectl', [...common, ...args], { env, stdio: [stdin, 'pipe', 'pipe'] });
    running.add(child);
    const [output, errors] = [gathered(child.stdout), gathered(child.stderr)];
    const ended = new Promise<string>((resolve, reject) => {
      child.once('error', (error) => reject(notStarted(error)));
      child.once('close', (code) => {
        running.delete(child);
        if (code === 0) resolve(output());
        else reject(failureOf(errors(), place));
      });
    });
    child.stdin?.end(input);
    return { child, ended };
  };
  const run: Kubectl['run'] = async (args, input) => {
    const { child, ended } = start(args, input);
    if (limitMs === undefined) return ended;
    const over = Promise.withResolvers<never>();
    const limit = setTimeout(() => {
      child.kill();
      over.reject(
        new LauncherError(
          `kubectl ${args.slice(0, 3).join(' ')} did not end within ${limitMs} ms: the cluster is slow`,
        ),
      );
    }, limitMs);
    // It ends with an error once it is killed.
    ended.catch(() => undefined);
    return Promise.race([ended, over.promise]).finally(() => clearTimeout(limit));
  };
  const lines: Kubectl['lines'] = async (args, line) => {
    const { child, ended } = start(args);
    if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', line);
    await ended;
  };
  const forward: Kubectl['forward'] = async (target, port) => {
    const opened = Promise.withResolvers<string>();
    const ended = lines(['port-forward', target, `:${port}`], (text) => {
      const [, found] = /^Forwarding from 127\.0\.0\.1:(\d+) /.exec(text) ?? [];
      if (found !== undefined) opened.resolve(`127.0.0.1:${found}`);
    });
    ended.then(() => opened.reject(failureOf('', place)), opened.reject);
    const forwardMs = limitMs ?? FORWARD_MS;
    const patience = setTimeout(
      () => opened.reject(new LauncherError(`port-forward to ${target} did not start within ${forwardMs} ms`)),
      forwardMs,
    );
    return opened.promise.finally(() => clearTimeout(patience));
  };
  const ending = new AbortController();
  return {
    place,
    run,
    json: async (args) => JSON.parse(await run([...args, '--output', 'json'])),
    lines,
    forward,
    keepForward: (target, port) => keptForward(lines, { target, port, signal: ending.signal }),
    end: () => {
      ending.abort();
      for (const child of running) child.kill();
    },
  };
};

/** Forwards a port to the same local port and restarts the forward whenever it ends, until the signal is aborted. */
const keptForward = async (
  lines: Kubectl['lines'],
  { target, port, signal }: { readonly target: string; readonly port: number; readonly signal: AbortSignal },
): Promise<string> => {
  const local = await freePort();
  const opened = Promise.withResolvers<string>();
  const keep = async (): Promise<void> => {
    while (!signal.aborted) {
      const ended = lines(['port-forward', target, `${local}:${port}`], (text) => {
        if (text.startsWith('Forwarding from ')) opened.resolve(`127.0.0.1:${local}`);
      });
      // The first failure is that of the call. A later one comes from a pod that is replaced.
      await ended.catch((error: unknown) => opened.reject(error));
      if (!signal.aborted) await sleep(FORWARD_AGAIN_MS);
    }
  };
  void keep();
  return opened.promise;
};

const gathered = (stream: ChildProcess['stdout']): (() => string) => {
  const pieces: Buffer[] = [];
  stream?.on('data', (piece: Buffer) => pieces.push(piece));
  return () => Buffer.concat(pieces).toString();
};

const notStarted = (error: NodeJS.ErrnoException): LauncherError =>
  error.code === 'ENOENT'
    ? new LauncherError(
        'kubectl is not on the PATH: install it (https://kubernetes.io/docs/tasks/tools), 1.30 or newer',
      )
    : new LauncherError(`kubectl cannot be started: ${error.message}`);

/** The last line of kubectl's error output, and what to do about it. */
const failureOf = (errors: string, { context, namespace }: ClusterPlace): LauncherError => {
  const line = errors.trim().split('\n').at(-1) ?? '';
  const where = context === undefined ? 'the current context' : `context "${context}"`;
  const cures: readonly (readonly [RegExp, string])[] = [
    [
      /context .* does not exist|context was not found|no context exists/,
      'kubectl config get-contexts lists the contexts',
    ],
    [
      /current-context is not set|localhost:8080/,
      'name a cluster with --kube-context, or set one: kubectl config use-context',
    ],
    [
      /connection refused|Unable to connect|no such host|i\/o timeout|deadline exceeded/,
      `the cluster of ${where} does not respond: check that it runs and is reachable`,
    ],
    [/Unauthorized|must be logged in/, `log in to the cluster of ${where} again`],
    [/[Ff]orbidden/, `your user in the cluster of ${where} lacks this right in namespace ${namespace}`],
    [/namespaces? .* not found/, `create namespace ${namespace}: kubectl apply -k deploy/kubernetes/overlays/local`],
    [
      /secrets? "?interlock-.* not found/,
      `namespace ${namespace} has no cloud that is set up: check the namespace, and the Job setup (kubectl --namespace ${namespace} logs --selector app.kubernetes.io/name=setup)`,
    ],
    [
      /not found/,
      `install Interlock in namespace ${namespace} (kubectl apply -k deploy/kubernetes/overlays/local), or name another with --namespace`,
    ],
  ];
  const cure = cures.find(([pattern]) => pattern.test(errors))?.[1];
  return new LauncherError(`kubectl: ${line}${cure === undefined ? '' : `. ${cure}`}`);
};

/** Why a pod does not run, from its status: the reason of its container, or of the scheduler. */
export const waitingOf = (
  status: Readonly<Record<string, unknown>>,
): { readonly reason: string; readonly message: string } | undefined => {
  const waiting = objectsIn(status.containerStatuses).flatMap(({ state }) =>
    isObject(state) && isObject(state.waiting) ? [state.waiting] : [],
  );
  const unscheduled = objectsIn(status.conditions).filter(
    ({ type, status: value }) => type === 'PodScheduled' && value === 'False',
  );
  const [found] = [...waiting, ...unscheduled];
  return found && { reason: String(found.reason), message: String(found.message ?? '') };
};

/** The items of a list that kubectl returned. */
export const itemsOf = (list: unknown): readonly Readonly<Record<string, unknown>>[] =>
  isObject(list) ? objectsIn(list.items) : [];

const objectsIn = (value: unknown): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) ? value.filter(isObject) : [];

/** Whether a value is a JSON object. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
