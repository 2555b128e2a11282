import type { CloudControl, CloudPart, PartProcess } from '@interlock/local/control/cloud-control.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { isObject, itemsOf, type Kubectl } from './kubectl.ts';

/** Number of pods that a part had before it was killed, as an annotation of its workload: another process can restore it. */
const replicasKept = 'interlock.experiment/replicas';
/** Annotation of a pod whose process is stopped. */
const pausedMark = 'interlock.experiment/paused';
/** Longest end and longest start of the pods of a part, as kubectl reads it. */
const endWithin = '60s';
const startWithin = '180s';

/** The Deployment or StatefulSet of a part. */
interface Workload {
  /** `statefulset/disk` */
  readonly name: string;
  readonly replicas: number;
  readonly kept: number | undefined;
}

/**
 * Stops or continues the main process of a container from inside. It is process 1 unless the pod shares its process namespace, and
 * process 1 of a namespace cannot be stopped from inside.
 */
const signalScript = (signal: 'SIGSTOP' | 'SIGCONT'): string =>
  `const { readdirSync, readFileSync } = require('node:fs');
const found = readdirSync('/proc').filter((pid) => /^\\d+$/.test(pid) && Number(pid) !== process.pid)
  .filter((pid) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8').split('\\0').includes('/app/main.mjs'); } catch { return false; } });
if (found.length === 0 || found.includes('1')) process.exit(3);
for (const pid of found) process.kill(Number(pid), '${signal}');`;

/** A pod of a part. */
interface PartPod {
  readonly name: string;
  readonly isRunning: boolean;
  readonly isPaused: boolean;
}

const selectorOf = (part: CloudPart): readonly string[] => ['--selector', `app.kubernetes.io/name=${part}`];

/** Ends, pauses and restarts the pods of a cloud in a cluster. Its errors are LauncherErrors of kubectl. */
export const clusterControl = (kubectl: Kubectl): CloudControl => new ClusterControl(kubectl);

class ClusterControl implements CloudControl {
  readonly #kubectl: Kubectl;

  constructor(kubectl: Kubectl) {
    this.#kubectl = kubectl;
  }

  async processes(): Promise<readonly PartProcess[]> {
    return (await Promise.all(clusterParts.map((part) => this.#processesOf(part)))).flat();
  }

  async kill(part: CloudPart): Promise<void> {
    const { name, replicas } = await this.#workloadOf(part);
    // The annotation comes first, so that another process can restore the part if this runner is killed.
    if (replicas > 0) await this.#kubectl.run(['annotate', name, `${replicasKept}=${replicas}`, '--overwrite']);
    await this.#kubectl.run(['scale', name, '--replicas=0']);
    await this.#deletePods(part);
  }

  async restart(part: CloudPart): Promise<void> {
    const { name, replicas, kept = 1 } = await this.#workloadOf(part);
    if (replicas > 0) await this.#deletePods(part);
    else await this.#kubectl.run(['scale', name, `--replicas=${kept}`]);
    await this.#kubectl.run(['rollout', 'status', name, `--timeout=${startWithin}`]);
  }

  pause(part: CloudPart): Promise<void> {
    return this.#signal(part, 'SIGSTOP');
  }

  resume(part: CloudPart): Promise<void> {
    return this.#signal(part, 'SIGCONT');
  }

  async #workloadOf(part: CloudPart): Promise<Workload> {
    const { json, place } = this.#kubectl;
    const [found] = itemsOf(await json(['get', 'deployments,statefulsets', ...selectorOf(part)]));
    const { kind, metadata, spec } = found ?? {};
    if (!isObject(metadata) || !isObject(spec))
      throw new LauncherError(`no Deployment or StatefulSet of ${part} is in namespace ${place.namespace}`);
    const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
    const kept = annotations[replicasKept];
    return {
      name: `${String(kind).toLowerCase()}/${metadata.name}`,
      replicas: Number(spec.replicas ?? 1),
      kept: kept === undefined ? undefined : Number(kept),
    };
  }

  async #podsOf(part: CloudPart): Promise<readonly PartPod[]> {
    const pods = itemsOf(await this.#kubectl.json(['get', 'pods', ...selectorOf(part)]));
    return pods.map(({ metadata, status }) => {
      const { name, annotations, deletionTimestamp } = isObject(metadata) ? metadata : {};
      return {
        name: String(name),
        isRunning: isObject(status) && status.phase === 'Running' && deletionTimestamp === undefined,
        isPaused: isObject(annotations) && annotations[pausedMark] !== undefined,
      };
    });
  }

  async #processesOf(part: CloudPart): Promise<readonly PartProcess[]> {
    const [{ replicas, name }, pods] = await Promise.all([this.#workloadOf(part), this.#podsOf(part)]);
    // No process id: the ids are those of nodes.
    if (replicas === 0) return [{ part, name, pid: 0, state: 'down' }];
    return pods.map((pod) => ({
      ...{ part, name: pod.name, pid: 0 },
      state: pod.isPaused ? 'paused' : pod.isRunning ? 'running' : 'down',
    }));
  }

  #deletePods(part: CloudPart): Promise<string> {
    const how = ['--force', '--grace-period=0', `--timeout=${endWithin}`];
    return this.#kubectl.run(['delete', 'pods', ...selectorOf(part), ...how]);
  }

  async #signal(part: CloudPart, name: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    for (const pod of await this.#podsOf(part)) {
      if (!pod.isRunning) continue;
      try {
        await this.#kubectl.run(['exec', pod.name, '--', '/usr/local/bin/node', '-e', signalScript(name)]);
      } catch (error) {
        throw new LauncherError(
          `the process of pod ${pod.name} cannot be stopped: its pod must share its process namespace, as in deploy/kubernetes/overlays/chaos`,
          { cause: error },
        );
      }
      const mark = name === 'SIGSTOP' ? `${pausedMark}=true` : `${pausedMark}-`;
      await this.#kubectl.run(['annotate', 'pod', pod.name, mark, '--overwrite']);
    }
  }
}

const clusterParts: readonly CloudPart[] = [
  'identity',
  'key-vault',
  'disk-encryption-set',
  'disk',
  'compute',
  'nats',
  'postgres',
];
