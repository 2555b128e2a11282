import { LauncherError } from '@interlock/local/data-folder.ts';
import type { Kubectl } from '../../deploy/kubernetes/kubectl.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type PodCloud, untilReady } from './pod-cloud.ts';
import type { RunningPod } from './podman.ts';

/** What an API server would know of a workload. */
interface Workload {
  replicas: number;
  readonly annotations: Record<string, string>;
}

/** What kubectl does to the pods of a cloud that podman runs: the commands that experiments need, and no network policies. */
export const podmanKubectl = (cloud: PodCloud): Kubectl => {
  const workloads = new Map<string, Workload>();
  const podMarks = new Map<string, Record<string, string>>();
  const forwarders = new Map<string, Forwarder>();
  const workload = (part: string): Workload => {
    const found = workloads.get(part) ?? { replicas: 1, annotations: {} };
    workloads.set(part, found);
    return found;
  };
  const start = async (part: string): Promise<void> => {
    const running = await cloud.podman.play(cloud.pod(cloud.workload(part)));
    cloud.running.set(part, running);
    podMarks.delete(part);
    forwarders.get(part)?.to(running.ip);
  };
  const end = async (part: string): Promise<void> => {
    const running = cloud.running.get(part);
    cloud.running.delete(part);
    await running?.remove();
  };
  const podOf = (name: string): readonly [string, RunningPod] => {
    const found = [...cloud.running].find(([, pod]) => pod.name === name);
    if (found === undefined) throw new LauncherError(`kubectl: pods "${name}" not found`);
    return found;
  };
  /** `[annotation=value, …]`, `annotation-` */
  const annotate = (annotations: Record<string, string>, [mark = '']: readonly string[]): void => {
    const [name = '', value] = mark.split('=');
    if (value === undefined) delete annotations[name.replace(/-$/, '')];
    else annotations[name] = value;
  };

  const run: Kubectl['run'] = async (args) => {
    const [verb, first = '', second = '', ...rest] = args;
    const part = first.replace(/^.*\//, '');
    if (verb === 'scale') {
      workload(part).replicas = Number(second.replace('--replicas=', ''));
      if (workload(part).replicas > 0) await start(part);
    } else if (verb === 'delete' && first === 'pods') {
      const of = partIn([second, ...rest]);
      await end(of);
      if (workload(of).replicas > 0) await start(of);
    } else if (verb === 'rollout') {
      const [name] = rest;
      const of = String(second).replace(/^.*\//, '');
      const pod = cloud.running.get(of);
      if (pod === undefined) throw new LauncherError(`kubectl: ${name} has no pod`);
      if (of !== 'nats' && of !== 'postgres') await untilReady(of, pod);
    } else if (verb === 'annotate' && first === 'pod') {
      const [of] = podOf(second);
      const marks = podMarks.get(of) ?? {};
      podMarks.set(of, marks);
      annotate(marks, rest);
    } else if (verb === 'annotate') annotate(workload(part).annotations, [second]);
    else if (verb === 'exec') return podOf(first)[1].exec(rest);
    else throw new LauncherError(`kubectl: podman has no ${args.join(' ')}`);
    return '';
  };
  const json: Kubectl['json'] = async ([, kind = '', ...rest]) => {
    if (kind === 'secret') return { data: cloud.cluster.secrets.get(rest[0] ?? '') };
    if (kind === 'configmap')
      return cloud.cluster.objects.find((one) => one.kind === 'ConfigMap' && one.metadata.name === rest[0]);
    const parts = partsIn(rest);
    if (kind === 'pods')
      return {
        items: parts.flatMap((part) => {
          const pod = cloud.running.get(part);
          const metadata = { name: pod?.name, annotations: podMarks.get(part) ?? {} };
          return pod === undefined ? [] : [{ metadata, status: { phase: 'Running' } }];
        }),
      };
    return {
      items: parts.map((part) => {
        const { kind: own, metadata, spec } = cloud.workload(part);
        const { replicas, annotations } = workload(part);
        return { kind: own, metadata: { name: metadata.name, annotations }, spec: { ...spec, replicas } };
      }),
    };
  };
  const keepForward: Kubectl['keepForward'] = async (target, port) => {
    const part = target.replace(/^.*\//, '');
    const { ip } = cloud.running.get(part) ?? { ip: '127.0.0.1' };
    const forwarder = await startForwarder(ip, port);
    forwarders.set(part, forwarder);
    return forwarder.address;
  };
  return {
    place: { context: undefined, namespace: cloud.cluster.namespace },
    run,
    json,
    lines: () => Promise.reject(new LauncherError('podman has no lines of kubectl')),
    forward: keepForward,
    keepForward,
    end: () => {
      for (const forwarder of forwarders.values()) forwarder.close();
    },
  };
};

/** Parts of `--selector app.kubernetes.io/name=disk` or `… in (a,b)`. */
const partsIn = (args: readonly string[]): readonly string[] => {
  const selector = args[args.indexOf('--selector') + 1] ?? '';
  const [, one, several] = /^app\.kubernetes\.io\/name(?:=(.+)| in \((.+)\))$/.exec(selector) ?? [];
  return one === undefined ? (several ?? '').split(',') : [one];
};

const partIn = (args: readonly string[]): string => partsIn(args)[0] ?? '';
