import assert from 'node:assert/strict';
import { errorLines } from './error-lines.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type PodCloud, untilReady } from './pod-cloud.ts';
import type { RunningPod } from './podman.ts';
import { type Cluster, podOf } from './pods.ts';
import { type KubernetesObject, render } from './render.ts';
import { GRPC_PORT, stopCleanly } from './rolling.ts';

/** The StatefulSets of hosts. */
export type HostSet = 'disk' | 'disk-host' | 'vm-host';

/** The pods of the overlay `local-hosts`, in place of those of disk and compute. */
export interface HostPods {
  /** The addresses of the control processes. */
  readonly controlIp: Readonly<Record<'disk' | 'compute', string>>;
  /** Starts and stops pods as a controller does after `kubectl scale`: those with the highest numbers end. */
  scale(set: HostSet, replicas: number): Promise<void>;
  /** SIGKILL for the pod of that name, and removes it. Its claims stay. */
  kill(name: string): Promise<void>;
  /** Replaces a pod that was stopped, or starts it again. */
  start(name: string): Promise<void>;
  /** The address at which a disk host is reached from here. @param address `disk-host-1.disk-host.interlock.svc:7400` */
  reachedAt(address: string): string;
  /** The value of a gauge of one of the control processes for a host. @param gauge as Prometheus names it */
  gauge(control: 'disk' | 'compute', gauge: string, host: string): Promise<number | undefined>;
  /** The newest errors that each pod has logged. */
  errors(): Promise<readonly string[]>;
  close(): void;
}

/** Where the control processes show their metrics. */
const METRICS_PORT = 9464;

/** Starts the control processes and hosts. disk and compute of the overlay before must have ended. @param print for a line of each step */
export const startHostPods = async (cloud: PodCloud, print: (line: string) => void): Promise<HostPods> => {
  const cluster: Cluster = { ...cloud.cluster, objects: (await render('local-hosts')).map(showingMetrics) };
  const running = new Map<string, { readonly pod: RunningPod; readonly forwarder: Forwarder }>();
  const workload = (name: string): KubernetesObject =>
    cluster.objects.find(
      ({ kind, metadata }) => ['StatefulSet', 'Deployment'].includes(kind) && metadata.name === name,
    ) ?? assert.fail(`the overlay has no ${name}`);
  const start = async (name: string): Promise<void> => {
    const [, set = name, ordinal = '0'] = /^(disk|disk-host|vm-host)-(\d+)$/.exec(name) ?? [];
    const pod = await cloud.podman.play(podOf(workload(set), cluster, Number(ordinal)));
    await untilReady(name, pod);
    const forwarder = running.get(name)?.forwarder ?? (await startForwarder(pod.ip, GRPC_PORT));
    forwarder.to(pod.ip);
    running.set(name, { pod, forwarder });
  };
  const find = (name: string) => running.get(name) ?? assert.fail(`${name} does not run`);
  const graceOf = (set: HostSet): number => workload(set).spec.template.spec.terminationGracePeriodSeconds ?? 30;
  const counts = new Map<HostSet, number>();
  const scale: HostPods['scale'] = async (set, replicas) => {
    const before = counts.get(set) ?? 0;
    const of = (from: number, to: number) =>
      Array.from({ length: Math.max(0, to - from) }, (_, n) => `${set}-${from + n}`);
    await Promise.all(of(before, replicas).map(start));
    const ended = of(replicas, before).map(async (name) => stopCleanly(name, find(name).pod, graceOf(set)));
    const tookMs = await Promise.all(ended);
    counts.set(set, replicas);
    print(`${set}: ${before} -> ${replicas}${tookMs.length > 0 ? `; ended in ${tookMs.join(', ')} ms` : ''}`);
  };
  // The first host registers first: the others wait for it.
  await start('disk-0');
  counts.set('disk', 1);
  await Promise.all(['disk-control', 'compute-control'].map(start));
  return {
    controlIp: { disk: find('disk-control').pod.ip, compute: find('compute-control').pod.ip },
    scale,
    async kill(name) {
      const { pod } = find(name);
      await pod.kill();
      await pod.remove();
    },
    start,
    reachedAt: (address) => find(address.replace(/\..*/, '')).forwarder.address,
    async gauge(control, gauge, host) {
      const { ip } = find(`${control}-control`).pod;
      const text = await (await fetch(`http://${ip}:${METRICS_PORT}/metrics`)).text();
      const line = text.split('\n').find((one) => one.startsWith(`${gauge}{`) && one.includes(`${host}"`));
      return line === undefined ? undefined : Number(line.split(' ')[1]);
    },
    errors: async () => {
      const logs = await Promise.allSettled(
        [...running].map(async ([name, { pod }]) => [name, await pod.logs()] as const),
      );
      return logs.flatMap((one) =>
        one.status === 'fulfilled' ? errorLines(one.value[1]).map((line) => `${one.value[0]}: ${line}`) : [],
      );
    },
    close: () => {
      for (const { forwarder } of running.values()) forwarder.close();
    },
  };
};

/** Metrics are read from the processes themselves, because no collector runs here. */
const showingMetrics = (object: KubernetesObject): KubernetesObject =>
  object.kind === 'ConfigMap' && object.metadata.name === 'interlock-settings'
    ? {
        ...object,
        data: { ...object.data, OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0' },
      }
    : object;
