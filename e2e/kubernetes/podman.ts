import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { stringify } from 'yaml';
import { isOnPath, runProgram } from '../../deploy/images/builder.ts';
import type { Manifest, RunnablePod } from './pods.ts';

/** Containers of one run, under their own network and names. */
export interface Podman {
  /** Starts a pod. `suffix` names a second instance, which exists for a moment in a rolling update. */
  play(pod: RunnablePod, suffix?: string): Promise<RunningPod>;
  /** The folder with the content of a claim of this run on this machine. */
  volumeFolder(claim: string): Promise<string>;
  /** Removes every pod, volume and the network of this run. */
  removeAll(): Promise<void>;
}

/** A pod that was started. */
export interface RunningPod {
  readonly name: string;
  /** Reachable from this machine. */
  readonly ip: string;
  /**
   * SIGTERM, then SIGKILL after the grace; resolves when the container has ended.
   * @returns its exit code, and how long it took
   */
  stop(graceSeconds: number): Promise<{ readonly exitCode: number; readonly tookMs: number }>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Runs a command in the container. @returns its standard output. @throws LauncherError */
  exec(command: readonly string[]): Promise<string>;
  /** Passes each line the container prints to `line` until it ends. @returns its exit code */
  follow(line: (text: string) => void): Promise<number>;
  /** Its output so far. */
  logs(): Promise<string>;
  /** Removes the pod and its names; its volumes stay. */
  remove(): Promise<void>;
}

type Run = (...args: readonly string[]) => Promise<string>;

/**
 * podman for one run. It needs root, and limits not above those of this process.
 * @param folder for configuration and manifests
 * @throws LauncherError if podman is missing
 */
export const openPodman = async (id: string, folder: string, env: NodeJS.ProcessEnv): Promise<Podman> => {
  if (!isOnPath('podman', env)) {
    throw new LauncherError(
      'podman is not on the PATH: apt-get install podman netavark aardvark-dns runc (without systemd runc is needed).',
    );
  }
  mkdirSync(folder, { recursive: true });
  const configuration = join(folder, 'containers.conf');
  writeFileSync(configuration, await containersConf(env));
  const own = { ...env, CONTAINERS_CONF_OVERRIDE: configuration, PODMAN_IGNORE_CGROUPSV1_WARNING: '1' };
  const podman: Run = (...args) => runProgram('podman', args, own);
  const network = `interlock-${id}`;
  const volumes = new Set<string>();
  const pods = new Set<string>();
  await podman('network', 'create', network);

  return {
    async play(pod, suffix = '') {
      const name = `${id}-${pod.name}${suffix}`;
      const objects = pod.objects.map((object) => scoped(object, id, name));
      for (const { kind, metadata } of objects) if (kind !== 'Pod') volumes.add(metadata.name);
      const file = join(folder, `${name}.yaml`);
      writeFileSync(file, objects.map((object) => stringify(object)).join('---\n'), { mode: 0o600 });
      const aliases = [pod.name, ...pod.aliases].map((alias) => `alias=${alias}`).join(',');
      pods.add(name);
      await podman('kube', 'play', '--network', `${network}:${aliases}`, '--log-driver', 'k8s-file', file);
      return runningPod(name, network, podman, own, () => pods.delete(name));
    },
    volumeFolder: async (claim) =>
      (await podman('volume', 'inspect', `${id}-${claim}`, '--format', '{{.Mountpoint}}')).trim(),
    async removeAll() {
      for (const name of pods) await podman('pod', 'rm', '--force', '--time', '0', '--ignore', name);
      for (const name of volumes) await podman('volume', 'rm', '--force', name);
      await podman('network', 'rm', '--force', network);
    },
  };
};

const runningPod = async (
  name: string,
  network: string,
  podman: Run,
  env: NodeJS.ProcessEnv,
  removed: () => void,
): Promise<RunningPod> => {
  const containers = await podman('ps', '--all', '--format', '{{.Names}}', '--filter', `pod=${name}`);
  const [container = ''] = containers.split('\n').filter((one) => one !== '' && !one.endsWith('-infra'));
  const infra = (await podman('pod', 'inspect', name, '--format', '{{.InfraContainerID}}')).trim();
  const address = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
  return {
    name,
    ip: (await podman('inspect', infra, '--format', address)).trim(),
    async stop(graceSeconds) {
      const since = performance.now();
      await podman('stop', '--time', String(graceSeconds), container);
      const tookMs = Math.round(performance.now() - since);
      const code = await podman('inspect', container, '--format', '{{.State.ExitCode}}');
      return { exitCode: Number(code), tookMs };
    },
    kill: async () => void (await podman('kill', container)),
    exec: (command) => podman('exec', container, ...command),
    async follow(line) {
      const child = spawn('podman', ['logs', '--follow', container], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', line);
      await new Promise((resolve) => child.once('close', resolve));
      return Number(await podman('wait', container));
    },
    // Services log to standard error, and print on standard output that they are ready.
    logs: () => runProgram('sh', ['-c', 'exec podman logs "$0" 2>&1', container], env),
    async remove() {
      await podman('pod', 'rm', '--force', '--time', '0', name);
      removed();
    },
  };
};

/** The object under names of this run: podman knows no namespaces. */
const scoped = (object: Manifest, id: string, podName: string): Manifest =>
  JSON.parse(
    JSON.stringify(
      {
        ...object,
        metadata: { ...object.metadata, name: object.kind === 'Pod' ? podName : `${id}-${object.metadata.name}` },
      },
      (key, value) => {
        if (key === 'claimName') return `${id}-${value}`;
        if (key === 'configMap' || key === 'configMapRef') return { ...value, name: `${id}-${value.name}` };
        return value;
      },
    ),
  );

/** runc, because crun needs a newer kernel interface than some test machines have; limits no higher than those of this process. */
const containersConf = async (env: NodeJS.ProcessEnv): Promise<string> => {
  const hard = async (flag: string): Promise<string> =>
    (await runProgram('sh', ['-c', `ulimit -H${flag}`], env)).trim();
  const limit = (name: string, value: string): string[] =>
    value === 'unlimited' ? [] : [`"${name}=${value}:${value}"`];
  const limits = [...limit('nofile', await hard('n')), ...limit('nproc', await hard('p').catch(() => 'unlimited'))];
  return `[engine]\nruntime = "runc"\n[containers]\ndefault_ulimits = [${limits.join(', ')}]\n`;
};
