import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hostSpec } from '@interlock/host';
import { readConfig } from '@interlock/runtime';
import { namesOf } from '../../deploy/kubernetes/setup/secrets.ts';
import { computeSpec } from '../../services/compute/src/settings.ts';
import { vmHostProblems, vmHostSpec } from '../../services/compute/src/vm-host/settings.ts';
import { textOf } from '../docs/sources.ts';
import { frozenIn, upgradeProblems } from './immutable-fields.ts';
import { containersOf, selects, workloadsIn } from './references.ts';
import {
  hasHosts,
  isProduction,
  type KubernetesObject,
  type Overlay,
  overlays,
  plainName,
  render,
  renderOverlays,
} from './render.ts';
import { assertSpread } from './test-hosts.ts';
import { variablesOf } from './variables.ts';

const rendered = await renderOverlays();
const objectsOf = (overlay: Overlay): readonly KubernetesObject[] => rendered.get(overlay) ?? [];
const find = (overlay: Overlay, kind: string, name: string): KubernetesObject =>
  objectsOf(overlay).find((object) => object.kind === kind && plainName(object) === name) ??
  assert.fail(`${overlay} has no ${kind} ${name}`);

/** The variables of the first container of a workload's pod, with those of its ConfigMap. */
const environmentOf = (overlay: Overlay, workload: KubernetesObject, podName: string) => {
  const fields = {
    'metadata.name': podName,
    'metadata.namespace': 'interlock',
    "metadata.labels['topology.kubernetes.io/zone']": 'zone-b',
  };
  const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
  const own = variablesOf(containersOf(workload)[0]?.env ?? [], {
    fields,
    secret: ({ name, key }) => `${name}/${key}`,
    setting: ({ key }) => data[key],
  });
  return { own, all: { ...data, ...own } };
};

for (const overlay of overlays.filter(hasHosts))
  describe(`the ${overlay} overlay`, () => {
    test('pod vm-host-1 is a VM host with its own name, zone, claim and an address that leads to it', () => {
      const workload = find(overlay, 'StatefulSet', 'vm-host');
      const settings = readConfig(environmentOf(overlay, workload, 'vm-host-1').all, vmHostSpec);
      const address = 'vm-host-1.vm-host.interlock.svc:7400';
      assert.deepEqual([settings.vmHost, settings.hostZone, settings.vmHostAddress], ['vm-host-1', 'zone-b', address]);
      const folder = containersOf(workload)[0]?.volumeMounts?.find(
        ({ mountPath }) => mountPath === settings.dataFolder,
      );
      assert.equal(workload.spec.volumeClaimTemplates?.[0]?.metadata.name, folder?.name);
      assert.equal(workload.spec.serviceName, 'vm-host');
      const { selector } = find(overlay, 'Service', 'vm-host').spec;
      assert.ok(selects({ matchLabels: selector ?? {} }, workload.spec.template.metadata.labels));
      const names = isProduction(overlay)
        ? (find(overlay, 'Certificate', 'compute').spec.dnsNames ?? [])
        : namesOf('compute', 'interlock');
      assert.ok(names.includes('*.vm-host.interlock.svc'), names.join(' '));
    });

    test('G8: a VM host has no account of a store or of NATS', () => {
      const workload = find(overlay, 'StatefulSet', 'vm-host');
      const { own } = environmentOf(overlay, workload, 'vm-host-0');
      assert.deepEqual(
        Object.keys(own).filter((name) => /^(STORE|DATABASE|NATS)_/.test(name)),
        [],
      );
      const secrets = workload.spec.template.spec.volumes?.flatMap(({ secret }) => secret?.secretName ?? []);
      assert.deepEqual(secrets?.toSorted(), ['interlock-tls-compute', 'interlock-workload-compute']);
    });

    test('a VM host runs as the image does, with the program of a VM host', () => {
      const [, entry = '[]'] = /^ENTRYPOINT (\[.*main\.mjs"\])$/m.exec(textOf('deploy/Containerfile')) ?? [];
      const image: readonly string[] = JSON.parse(entry);
      const [container] = containersOf(find(overlay, 'StatefulSet', 'vm-host'));
      const program = '/app/services/compute/src/vm-host/main.ts';
      assert.deepEqual(container?.command, [...image.slice(0, -1), program]);
      assert.match(textOf(program.replace('/app/', '')), /hostProcess\(/);
      assert.ok(image.length > 4);
    });

    test('a VM host that ends has 120 s until its machines have moved, and is not killed before', () => {
      const workload = find(overlay, 'StatefulSet', 'vm-host');
      const { all } = environmentOf(overlay, workload, 'vm-host-0');
      const { shutdownGraceMs } = readConfig(all, { shutdownGraceMs: hostSpec.shutdownGraceMs });
      const { vmHostLeaveMs } = readConfig(all, vmHostSpec);
      assert.equal(vmHostLeaveMs, 120_000);
      assert.deepEqual(vmHostProblems({ vmHostLeaveMs, shutdownGraceMs }), []);
      const preStopMs = (containersOf(workload)[0]?.lifecycle?.preStop?.sleep?.seconds ?? 0) * 1_000;
      const graceMs = (workload.spec.template.spec.terminationGracePeriodSeconds ?? 30) * 1_000;
      assert.ok(preStopMs + shutdownGraceMs < graceMs, `${preStopMs} + ${shutdownGraceMs} of ${graceMs}`);
    });
  });

for (const overlay of overlays.filter(hasHosts))
  describe(`what is beside the VM hosts of the ${overlay} overlay`, () => {
    test('control processes run no guests, have no volume, and are what all others call', () => {
      const control = find(overlay, 'Deployment', 'compute-control');
      const settings = readConfig(environmentOf(overlay, control, 'compute-control-x').all, computeSpec);
      assert.equal(settings.guestDriver, 'hosts');
      const { volumes = [] } = control.spec.template.spec;
      const mounts = containersOf(control).flatMap(({ volumeMounts = [] }) => volumeMounts);
      assert.deepEqual(mounts.map(({ name }) => name).toSorted(), volumes.map(({ name }) => name).toSorted());
      assert.ok(!mounts.some(({ mountPath }) => mountPath === '/data'));
      const { selector } = find(overlay, 'Service', 'compute').spec;
      assert.deepEqual(
        workloadsIn(objectsOf(overlay))
          .filter(({ spec }) => selects({ matchLabels: selector ?? {} }, spec.template.metadata.labels))
          .map(({ metadata }) => metadata.name),
        ['compute-control'],
      );
      assert.ok(Number(find(overlay, 'HorizontalPodAutoscaler', 'compute-control').spec.minReplicas) >= 2);
    });

    test('the pod that ran all guests is scaled away, and keeps its claim and every field that no update may change', async () => {
      const workload = find(overlay, 'StatefulSet', 'compute');
      assert.equal(workload.spec.replicas, 0);
      const without = (await render(overlay.replace('-hosts', '') as Overlay)).filter(
        ({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === 'compute',
      );
      assert.deepEqual(frozenIn([workload]), frozenIn(without));
    });

    test('VM hosts are on different nodes, start together, keep their claims, and are replaced only by an operator', () => {
      const { spec } = find(overlay, 'StatefulSet', 'vm-host');
      assertSpread(spec);
      assert.deepEqual([spec.podManagementPolicy, spec.updateStrategy?.type], ['Parallel', 'OnDelete']);
      assert.equal(find(overlay, 'PodDisruptionBudget', 'vm-host').spec.maxUnavailable, 1);
      const scaled = (replicas: number) =>
        objectsOf(overlay).map((object) =>
          object.kind === 'StatefulSet' ? { ...object, spec: { ...object.spec, replicas } } : object,
        );
      for (const count of [1, 4])
        assert.deepEqual(upgradeProblems(frozenIn(objectsOf(overlay)), frozenIn(scaled(count))), []);
    });
  });
