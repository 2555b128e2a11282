import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type StoreOwner, storeOwners } from '@interlock/local/services.ts';
import { systemClock, systemRandom } from '@interlock/runtime';
import { makeSecrets } from '../../deploy/kubernetes/setup/secrets.ts';
import { until } from '../cloud/until.ts';
import { openPodman, type Podman, type RunningPod } from './podman.ts';
import { type Cluster, podOf, type RunnablePod } from './pods.ts';
import { type KubernetesObject, plainName, render } from './render.ts';

/** The cloud of the `local` overlay as containers on this machine. */
export interface PodCloud {
  readonly cluster: Cluster;
  readonly podman: Podman;
  /** The pods of the services and the gateway that run now. */
  readonly services: Map<StoreOwner, RunningPod>;
  /** Every pod that runs now, by its part; the services are among them. */
  readonly running: Map<string, RunningPod>;
  /** From the start of the first service until the last one is ready, in milliseconds. */
  readonly readyMs: number;
  /** The pod of a workload of the overlay, or of another manifest. */
  pod(workload: KubernetesObject): RunnablePod;
  /** The workload of a service in the overlay. */
  workload(name: string): KubernetesObject;
  /** The folder with the content of a claim on this machine. */
  volumeFolder(claim: string): Promise<string>;
  stop(): Promise<void>;
}

const namespace = 'interlock';
/** How long a pod may take to be ready, in milliseconds: the limit of its startup probe. */
const READY_MS = 180_000;

/**
 * Starts the `local` overlay: Postgres, NATS, the five services and the gateway, with Secrets as the setup Job makes them.
 * Without collector and Jaeger, because there is no image of them here; only spans are lost.
 * @param folder for Secrets, manifests and logs
 * @param overlay `chaos`: pods share a process namespace, so that experiments can stop processes
 * @throws LauncherError that names what is missing, or the pod that did not become ready with the end of its log
 */
export const startPodCloud = async (
  id: string,
  folder: string,
  say: (line: string) => void,
  overlay: 'local' | 'chaos' = 'local',
): Promise<PodCloud> => {
  const objects = await render(overlay);
  const secrets = await makeSecrets({
    namespace,
    hasCertificates: false,
    now: systemClock.now(),
    random: systemRandom,
  });
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const cluster: Cluster = {
    objects,
    secrets: new Map(secrets.map(({ metadata, data }) => [metadata.name, data])),
    folder: join(folder, 'secrets'),
    give: (file, group) => chownSync(file, 0, group),
    namespace,
  };
  const find = (kinds: string, name: string): KubernetesObject => {
    const found = objects.find((object) => kinds.split('|').includes(object.kind) && plainName(object) === name);
    if (found === undefined) throw new Error(`the overlay has no ${kinds} ${name}`);
    return found;
  };
  const workload = (name: string): KubernetesObject => find('Deployment|StatefulSet', name);
  const podman = await openPodman(id, join(folder, 'podman'), process.env);
  try {
    const pod = (of: KubernetesObject): RunnablePod => podOf(of, cluster);
    const [postgres, nats] = await Promise.all([
      podman.play(pod(workload('postgres'))),
      podman.play(pod(workload('nats'))),
    ]);
    say(`postgres ${postgres.ip}, nats ${nats.ip}`);
    await createStreams(podman, pod(find('Job', 'nats-streams')));
    const since = performance.now();
    const services = new Map<StoreOwner, RunningPod>();
    for (const name of storeOwners) services.set(name, await podman.play(pod(workload(name))));
    await Promise.all([...services].map(([name, running]) => untilReady(name, running)));
    const readyMs = Math.round(performance.now() - since);
    say(`five services and the gateway ready ${(readyMs / 1000).toFixed(1)} s after the first was started`);
    return {
      cluster,
      podman,
      services,
      running: new Map<string, RunningPod>([...services, ['postgres', postgres], ['nats', nats]]),
      readyMs,
      pod,
      workload,
      volumeFolder: podman.volumeFolder,
      stop: () => podman.removeAll(),
    };
  } catch (error) {
    await podman.removeAll();
    throw error;
  }
};

/** Runs the Job that creates the streams to its end. @throws LauncherError with its log if it fails */
const createStreams = async (podman: Podman, pod: RunnablePod): Promise<void> => {
  const running = await podman.play(pod);
  const lines: string[] = [];
  const exitCode = await running.follow((line) => lines.push(line));
  await running.remove();
  if (exitCode !== 0) throw new LauncherError(`The streams were not created.\n${lines.slice(-15).join('\n')}`);
};

/** Calls the readiness probe as a kubelet does. @throws LauncherError with the end of the pod's log */
export const untilReady = async (name: string, { ip, logs }: RunningPod): Promise<void> => {
  try {
    await until(`${name} is ready`, async () => (await fetch(`http://${ip}:7480/readyz`)).ok, READY_MS);
  } catch (error) {
    const log = (await logs()).split('\n').slice(-15).join('\n');
    throw new LauncherError(`${name} did not become ready.\n${log}`, { cause: error });
  }
};
