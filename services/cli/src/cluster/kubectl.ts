import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ClusterProblem } from '../problems.ts';
import type { Environment } from '../session/environment.ts';
import type { ClusterPlace } from '../session/place.ts';

/** kubectl for one place. */
export interface Kubectl {
  readonly place: ClusterPlace;
  /** Runs it to its end. @returns what it printed. @throws ClusterProblem */
  run(args: readonly string[], input?: string): Promise<string>;
  /** The same, read as JSON. */
  json(args: readonly string[]): Promise<unknown>;
  /** Passes on each line until it ends. @throws ClusterProblem when it fails */
  lines(args: readonly string[], line: (text: string) => void): Promise<void>;
  /**
   * Opens a way from a free local port to a port of a Service or pod; it stands until `end`.
   * @param target `svc/identity`, `pod/disk-0`
   * @returns `127.0.0.1:<port>`
   * @throws ClusterProblem when there is nothing at the other end
   */
  forward(target: string, port: number): Promise<string>;
  /** Ends whatever of it still runs. */
  end(): void;
}

/** How long a port-forward may take to stand, in milliseconds. */
const FORWARD_MS = 15_000;

/** @param env holds PATH and KUBECONFIG */
export const openKubectl = (place: ClusterPlace, env: Environment): Kubectl => {
  const { context, namespace } = place;
  const common = [...(context === undefined ? [] : ['--context', context]), '--namespace', namespace];
  const running = new Set<ChildProcess>();
  const start = (args: readonly string[], input: 'pipe' | 'ignore' = 'ignore'): ChildProcess => {
    const child = spawn('kubectl', [...common, ...args], { env, stdio: [input, 'pipe', 'pipe'] });
    running.add(child);
    child.once('close', () => running.delete(child));
    return child;
  };

  const run: Kubectl['run'] = (args, input) =>
    new Promise((resolve, reject) => {
      const child = start(args, input === undefined ? 'ignore' : 'pipe');
      const [output, words] = [gathered(child.stdout), gathered(child.stderr)];
      child.once('error', (error) => reject(notStarted(error)));
      child.once('close', (code) => (code === 0 ? resolve(output()) : reject(problemIn(words(), place))));
      child.stdin?.end(input);
    });
  return {
    place,
    run,
    json: async (args) => JSON.parse(await run([...args, '--output', 'json'])),
    lines: (args, line) =>
      new Promise((resolve, reject) => {
        const child = start(args);
        const words = gathered(child.stderr);
        if (child.stdout !== null) createInterface({ input: child.stdout }).on('line', line);
        child.once('error', (error) => reject(notStarted(error)));
        child.once('close', (code) => (code === 0 ? resolve() : reject(problemIn(words(), place))));
      }),
    forward: (target, port) =>
      new Promise((resolve, reject) => {
        const child = start(['port-forward', target, `:${port}`]);
        const words = gathered(child.stderr);
        const patience = setTimeout(() => {
          child.kill();
          reject(new ClusterProblem(`${target} gives no way in: port-forward did not stand after ${FORWARD_MS} ms`));
        }, FORWARD_MS);
        child.once('error', (error) => reject(notStarted(error)));
        child.once('close', () => {
          clearTimeout(patience);
          reject(problemIn(words(), place));
        });
        if (child.stdout === null) return;
        createInterface({ input: child.stdout }).on('line', (text) => {
          const [, found] = /^Forwarding from 127\.0\.0\.1:(\d+) /.exec(text) ?? [];
          if (found === undefined) return;
          clearTimeout(patience);
          resolve(`127.0.0.1:${found}`);
        });
      }),
    end: () => {
      for (const child of running) child.kill();
    },
  };
};

const gathered = (stream: ChildProcess['stdout']): (() => string) => {
  const pieces: Buffer[] = [];
  stream?.on('data', (piece: Buffer) => pieces.push(piece));
  return () => Buffer.concat(pieces).toString();
};

const notStarted = (error: NodeJS.ErrnoException): ClusterProblem =>
  error.code === 'ENOENT'
    ? new ClusterProblem(
        'kubectl is not on the PATH: install it (https://kubernetes.io/docs/tasks/tools), 1.30 or newer',
      )
    : new ClusterProblem(`kubectl cannot be started: ${error.message}`);

/** What kubectl says when something is not as it should be, and what to do about it. */
const problemIn = (words: string, { context, namespace }: ClusterPlace): ClusterProblem => {
  const said = words.trim().split('\n').at(-1) ?? '';
  const where = context === undefined ? 'the current context' : `context "${context}"`;
  const cure = [
    [/context .* does not exist|no context exists/, 'kubectl config get-contexts lists those there are'],
    [
      /current-context is not set|localhost:8080/,
      'name a cluster with --kube-context, or set one: kubectl config use-context',
    ],
    [
      /connection refused|Unable to connect|no such host|i\/o timeout|deadline exceeded/,
      `the cluster of ${where} does not answer: is it up, and reachable from here?`,
    ],
    [/Unauthorized|must be logged in/, `log in to the cluster of ${where} again`],
    [/[Ff]orbidden/, `whoever you are in the cluster of ${where} may not do this in namespace ${namespace}`],
    [
      /namespaces? .* not found/,
      `there is no namespace ${namespace}: kubectl apply -k deploy/kubernetes/overlays/local`,
    ],
    [
      /secrets? "?interlock-.* not found/,
      `namespace ${namespace} holds no cloud that is set up: is it the right one, and did the Job setup end well (kubectl --namespace ${namespace} logs job/setup)?`,
    ],
    [
      /not found/,
      `is Interlock in namespace ${namespace}? kubectl apply -k deploy/kubernetes/overlays/local, or name another with --namespace`,
    ],
  ].find(([pattern]) => (pattern as RegExp).test(words))?.[1];
  return new ClusterProblem(`kubectl: ${said}${cure === undefined ? '' : `. ${String(cure)}`}`);
};
