import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textOf } from '../docs/sources.ts';
import { containersOf, workloadsIn } from './references.ts';
import { type KubernetesObject, objectsIn, render } from './render.ts';

/** minikube's default number of CPUs, and 4 GB of memory. */
const node = { cpuMillis: 2_000, memoryMiB: 3_800 };
/**
 * The requests of the cluster's own pods on such a node: kubeadm's API server 250m, controller manager 200m, scheduler
 * 100m, etcd 100m and 100 MiB, CoreDNS 100m and 70 MiB, metrics-server 100m and 200 MiB.
 */
const system = { cpuMillis: 850, memoryMiB: 370 };

const objects: readonly KubernetesObject[] = [
  ...(await render('local')),
  ...objectsIn(textOf('deploy/kubernetes/jobs/rehearsal.yaml')),
];

const millis = (quantity: string): number =>
  quantity.endsWith('m') ? Number(quantity.slice(0, -1)) : Number(quantity) * 1_000;
const mebibytes = (quantity: string): number => {
  const [, number = '', unit = ''] = /^(\d+)(Mi|Gi)$/.exec(quantity) ?? [];
  return Number(number) * (unit === 'Gi' ? 1_024 : 1);
};

/** The largest number of pods of a workload at one time: its autoscaler's maximum, and one more during the update of a Deployment. */
const podsMax = ({ kind, metadata, spec }: KubernetesObject): number => {
  const scaler = objects.find(
    (one) => one.kind === 'HorizontalPodAutoscaler' && one.spec.scaleTargetRef?.name === metadata.name,
  );
  const isSurging = kind === 'Deployment' && spec.strategy?.type !== 'Recreate';
  return (scaler?.spec.maxReplicas ?? spec.replicas ?? 1) + (isSurging ? 1 : 0);
};

/** The sum over all workloads of what a pod requests, times the number of its pods. */
const sumOf = (
  of: (requests: Readonly<Record<string, string>>) => number,
  podsOf: (workload: KubernetesObject) => number,
): number =>
  workloadsIn(objects)
    .flatMap((workload) =>
      containersOf(workload).map(({ resources }) => podsOf(workload) * of(resources?.requests ?? {})),
    )
    .reduce((total, one) => total + one, 0);

test('on 2 CPUs fit all replicas of the local overlay, a rolling update of everything and a rehearsal', () => {
  assert.ok(workloadsIn(objects).some(({ metadata }) => metadata.name === 'rehearsal'));
  const cpuMillis = sumOf(({ cpu = '' }) => millis(cpu), podsMax);
  assert.ok(cpuMillis > 0 && cpuMillis + system.cpuMillis <= node.cpuMillis, `requests add up to ${cpuMillis}m`);
});

test('on 4 GB fit the local overlay and a rehearsal', () => {
  const memoryMiB = sumOf(
    ({ memory = '' }) => mebibytes(memory),
    ({ spec }) => spec.replicas ?? 1,
  );
  assert.ok(memoryMiB > 0 && memoryMiB + system.memoryMiB <= node.memoryMiB, `requests add up to ${memoryMiB} MiB`);
});

test('the local autoscaling uses absolute CPU targets below the limit, not shares of the requests', () => {
  const scalers = objects.filter(({ kind }) => kind === 'HorizontalPodAutoscaler');
  assert.ok(scalers.length > 0);
  for (const { metadata, spec } of scalers)
    for (const { resource } of spec.metrics ?? []) {
      const { averageValue = '' } = resource?.target ?? {};
      const workload = workloadsIn(objects).find((one) => one.metadata.name === metadata.name) ?? assert.fail();
      const limit = containersOf(workload)[0]?.resources?.limits?.cpu ?? '';
      assert.ok(
        millis(averageValue) > 0 && millis(averageValue) < millis(limit),
        `${metadata.name}: ${averageValue} of ${limit}`,
      );
    }
});
