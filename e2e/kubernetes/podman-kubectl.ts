import { LauncherError } from '@interlock/local/data-folder.ts';
import type { Kubectl } from '../../deploy/kubernetes/kubectl.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type PodCloud, untilReady } from './pod-cloud.ts';
import type { RunningPod } from './podman.ts';

/** What an API server knows about a workload. */
interface Workload {
  replicas: number;
  readonly annotations: Record<string, string>;
}

/** A kubectl for the pods of a cloud that podman runs: the commands that experiments need, and no network policies. */
export const podmanKubectl = (cloud: PodCloud): Kubectl => {
  const pods = new PodmanPods(cloud);
  const keepForward: Kubectl['keepForward'] = (target, port) => pods.forward(target.replace(/^.*\//, ''), port);
  return {
    place: { context: undefined, namespace: cloud.cluster.namespace },
    run: (args) => pods.run(args),
    json: (args) => pods.json(args),
    lines: () => Promise.reject(new LauncherError('podman has no lines of kubectl')),
    forward: keepForward,
    keepForward,
    end: () => pods.close(),
  };
};

class PodmanPods {
  readonly #cloud: PodCloud;
  readonly #workloads = new Map<string, Workload>();
  readonly #podMarks = new Map<string, Record<string, string>>();
  readonly #forwarders = new Map<string, Forwarder>();

  constructor(cloud: PodCloud) {
    this.#cloud = cloud;
  }

  async run(args: readonly string[]): Promise<string> {
    const [verb, first = '', second = '', ...rest] = args;
    const nameOf = (of: string): string => of.replace(/^.*\//, '');
    if (verb === 'scale') await this.#scale(nameOf(first), Number(second.replace('--replicas=', '')));
    else if (verb === 'delete' && first === 'pods') await this.#delete(partsIn([second, ...rest])[0] ?? '');
    else if (verb === 'rollout') await this.#untilReady(nameOf(second));
    else if (verb === 'annotate' && first === 'pod') annotate(this.#marksOf(second), rest[0]);
    else if (verb === 'annotate') annotate(this.#workload(nameOf(first)).annotations, second);
    else if (verb === 'exec') return this.#podNamed(first)[1].exec(rest);
    else throw new LauncherError(`kubectl: podman has no ${args.join(' ')}`);
    return '';
  }

  async json([, kind = '', ...rest]: readonly string[]): Promise<unknown> {
    const { cluster, running } = this.#cloud;
    if (kind === 'secret') return { data: cluster.secrets.get(rest[0] ?? '') };
    if (kind === 'configmap')
      return cluster.objects.find((one) => one.kind === 'ConfigMap' && one.metadata.name === rest[0]);
    const items = partsIn(rest).flatMap((part): readonly object[] => {
      if (kind !== 'pods') return [this.#shown(part)];
      const pod = running.get(part);
      const metadata = { name: pod?.name, annotations: this.#podMarks.get(part) ?? {} };
      return pod === undefined ? [] : [{ metadata, status: { phase: 'Running' } }];
    });
    return { items };
  }

  async forward(part: string, port: number): Promise<string> {
    const { ip } = this.#cloud.running.get(part) ?? { ip: '127.0.0.1' };
    const forwarder = await startForwarder(ip, port);
    this.#forwarders.set(part, forwarder);
    return forwarder.address;
  }

  close(): void {
    for (const forwarder of this.#forwarders.values()) forwarder.close();
  }

  #workload(part: string): Workload {
    const found = this.#workloads.get(part) ?? { replicas: 1, annotations: {} };
    this.#workloads.set(part, found);
    return found;
  }

  /** As an API server returns it. */
  #shown(part: string): object {
    const { kind, metadata, spec } = this.#cloud.workload(part);
    const { replicas, annotations } = this.#workload(part);
    return { kind, metadata: { name: metadata.name, annotations }, spec: { ...spec, replicas } };
  }

  #podNamed(name: string): readonly [string, RunningPod] {
    const found = [...this.#cloud.running].find(([, pod]) => pod.name === name);
    if (found === undefined) throw new LauncherError(`kubectl: pods "${name}" not found`);
    return found;
  }

  #marksOf(name: string): Record<string, string> {
    const [part] = this.#podNamed(name);
    const marks = this.#podMarks.get(part) ?? {};
    this.#podMarks.set(part, marks);
    return marks;
  }

  async #scale(part: string, replicas: number): Promise<void> {
    this.#workload(part).replicas = replicas;
    if (replicas > 0) await this.#start(part);
  }

  async #delete(part: string): Promise<void> {
    const pod = this.#cloud.running.get(part);
    this.#cloud.running.delete(part);
    await pod?.remove();
    if (this.#workload(part).replicas > 0) await this.#start(part);
  }

  async #start(part: string): Promise<void> {
    const { podman, pod, workload, running } = this.#cloud;
    const started = await podman.play(pod(workload(part)));
    running.set(part, started);
    this.#podMarks.delete(part);
    this.#forwarders.get(part)?.to(started.ip);
  }

  async #untilReady(part: string): Promise<void> {
    const pod = this.#cloud.running.get(part);
    if (pod === undefined) throw new LauncherError(`kubectl: ${part} has no pod`);
    if (part !== 'nats' && part !== 'postgres') await untilReady(part, pod);
  }
}

/** `name=value` sets an annotation, `name-` removes it. */
const annotate = (annotations: Record<string, string>, mark = ''): void => {
  const [name = '', value] = mark.split('=');
  if (value === undefined) delete annotations[name.replace(/-$/, '')];
  else annotations[name] = value;
};

/** Parts of `--selector app.kubernetes.io/name=disk` or `… in (a,b)`. */
const partsIn = (args: readonly string[]): readonly string[] => {
  const selector = args[args.indexOf('--selector') + 1] ?? '';
  const [, one, several] = /^app\.kubernetes\.io\/name(?:=(.+)| in \((.+)\))$/.exec(selector) ?? [];
  return one === undefined ? (several ?? '').split(',') : [one];
};
