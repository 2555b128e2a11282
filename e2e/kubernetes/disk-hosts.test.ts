import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readConfig } from '@interlock/runtime';
import { namesOf } from '../../deploy/kubernetes/setup/secrets.ts';
import { firstHost } from '../../services/disk/src/fleet/own.ts';
import { diskSpec, roleProblems } from '../../services/disk/src/settings.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import { frozenIn, upgradeProblems } from './immutable-fields.ts';
import { containersOf, selects, workloadsIn } from './references.ts';
import {
  hasHosts,
  isProduction,
  type KubernetesObject,
  type Overlay,
  objectsIn,
  overlays,
  plainName,
  renderOverlays,
} from './render.ts';
import { assertSpread } from './test-hosts.ts';
import { variablesOf } from './variables.ts';

const rendered = await renderOverlays();
const objectsOf = (overlay: Overlay): readonly KubernetesObject[] => rendered.get(overlay) ?? [];
const find = (overlay: Overlay, kind: string, name: string): KubernetesObject =>
  objectsOf(overlay).find((object) => object.kind === kind && plainName(object) === name) ??
  assert.fail(`${overlay} has no ${kind} ${name}`);

/** The pod 1 of `disk-host`, and the pod of `disk`, which has the disks from before. */
const hosts = [
  { set: 'disk-host', pod: 'disk-host-1', service: 'disk-host', address: 'disk-host-1.disk-host.interlock.svc:7400' },
  { set: 'disk', pod: firstHost, service: firstHost, address: `${firstHost}.interlock.svc:7400` },
] as const;

/** The variables of the first container of a workload's pod, with those of its ConfigMap. */
const environmentOf = (
  overlay: Overlay,
  workload: KubernetesObject,
  podName: string,
): Readonly<Record<string, string>> => {
  const fields = {
    'metadata.name': podName,
    'metadata.namespace': 'interlock',
    "metadata.labels['topology.kubernetes.io/zone']": 'zone-b',
  };
  const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
  const secret = ({ name, key }: { readonly name: string; readonly key: string }): string => `${name}/${key}`;
  const setting = ({ key }: { readonly key: string }): string | undefined => data[key];
  const own = variablesOf(containersOf(workload)[0]?.env ?? [], { fields, secret, setting });
  return { ...data, ...own };
};

/** What the settings of disk read of them. */
const settingsOf = (...of: Parameters<typeof environmentOf>) => readConfig(environmentOf(...of), diskSpec);

for (const overlay of overlays.filter(hasHosts))
  describe(`the ${overlay} overlay`, () => {
    for (const { set, pod, service, address } of hosts)
      test(`pod ${pod} is a disk host with its own name, zone, claim and an address that leads to it`, () => {
        const workload = find(overlay, 'StatefulSet', set);
        const settings = settingsOf(overlay, workload, pod);
        assert.deepEqual(
          [settings.diskRole, settings.diskHost, settings.hostZone, settings.diskAddress, settings.dataAddress],
          ['host', pod, 'zone-b', address, undefined],
        );
        assert.deepEqual(roleProblems(settings), []);
        const [{ volumeMounts = [] } = {}] = containersOf(workload);
        const folder = volumeMounts.find(({ mountPath }) => mountPath === settings.dataFolder);
        assert.equal(workload.spec.volumeClaimTemplates?.[0]?.metadata.name, folder?.name);
        const { spec } = find(overlay, 'Service', service);
        assert.ok(selects({ matchLabels: spec.selector ?? {} }, workload.spec.template.metadata.labels));
        // A name of a pod below a Service is only there if the StatefulSet names this Service.
        if (address !== `${service}.interlock.svc:7400`) assert.equal(workload.spec.serviceName, service);
      });

    test('an address of a host is a name in the certificate of disk', () => {
      const names = isProduction(overlay)
        ? (find(overlay, 'Certificate', 'disk').spec.dnsNames ?? [])
        : namesOf('disk', 'interlock');
      for (const { address } of hosts) {
        const name = address.replace(/:.*/, '');
        assert.ok(names.includes(name) || names.includes(name.replace(/^[^.]+/, '*')), `${name}: ${names.join(' ')}`);
      }
    });

    test('control processes have no volume and no master key, and are what all others call', () => {
      const control = find(overlay, 'Deployment', 'disk-control');
      const settings = settingsOf(overlay, control, 'disk-control-x');
      assert.deepEqual(
        [settings.diskRole, settings.dataFolder, settings.masterKeyFile],
        ['control', undefined, undefined],
      );
      const { volumes = [] } = control.spec.template.spec;
      assert.deepEqual(volumes.find(({ name }) => name === 'workload')?.secret?.items, [
        { key: 'secret', path: 'secret' },
      ]);
      const mounted = containersOf(control).flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name));
      assert.deepEqual(mounted.toSorted(), volumes.map(({ name }) => name).toSorted());
      const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
      const called = find(overlay, 'Service', data.DISK_ADDRESS?.replace(/:.*/, '') ?? '').spec;
      const callable = workloadsIn(objectsOf(overlay)).filter(({ spec }) =>
        selects({ matchLabels: called.selector ?? {} }, spec.template.metadata.labels),
      );
      assert.deepEqual(
        callable.map(({ metadata }) => metadata.name),
        ['disk-control'],
      );
      assert.ok(Number(find(overlay, 'HorizontalPodAutoscaler', 'disk-control').spec.minReplicas) >= 2);
    });

    test('all hosts have one master key: a disk that moves keeps the seal of its keys', () => {
      const secrets = hosts.map(({ set, pod }) => {
        const workload = find(overlay, 'StatefulSet', set);
        const file = settingsOf(overlay, workload, pod).masterKeyFile ?? '';
        const mount = containersOf(workload)[0]?.volumeMounts?.find(({ mountPath }) =>
          file.startsWith(`${mountPath}/`),
        );
        return workload.spec.template.spec.volumes?.find(({ name }) => name === mount?.name)?.secret?.secretName;
      });
      assert.deepEqual(secrets, ['interlock-workload-disk', 'interlock-workload-disk']);
    });

    test('the first host keeps its name, its claim and every field that no update may change', () => {
      const without = find(overlay.replace('-hosts', '') as Overlay, 'StatefulSet', 'disk');
      const workload = find(overlay, 'StatefulSet', 'disk');
      assert.deepEqual(frozenIn([workload]), frozenIn([without]));
      assert.equal(`${workload.metadata.name}-0`, firstHost);
      assert.equal(workload.spec.replicas, 1, 'it stays until an operator has drained it');
    });

    test('hosts are on different nodes, start together, and keep their claims', () => {
      const { spec } = find(overlay, 'StatefulSet', 'disk-host');
      assertSpread(spec);
      const scaled = (replicas: number) =>
        objectsOf(overlay).map((object) =>
          object.kind === 'StatefulSet' ? { ...object, spec: { ...object.spec, replicas } } : object,
        );
      for (const count of [0, 2, 5])
        assert.deepEqual(upgradeProblems(frozenIn(objectsOf(overlay)), frozenIn(scaled(count))), []);
    });
  });

for (const overlay of overlays)
  test(`${overlay}: a variable refers only to variables before it, and each workload selects only its own pods`, () => {
    const workloads = workloadsIn(objectsOf(overlay));
    for (const { metadata, spec } of workloads)
      for (const { name: container, env = [] } of spec.template.spec.containers) {
        const earlier = new Set<string>();
        for (const { name, value = '' } of env) {
          for (const [, other = ''] of value.matchAll(/\$\((\w+)\)/g))
            assert.ok(earlier.has(other), `${metadata.name}/${container}: ${name} refers to ${other}`);
          earlier.add(name);
        }
      }
    for (const { kind, metadata, spec } of workloads.filter((one) => one.kind !== 'Job'))
      assert.deepEqual(
        workloads
          .filter((one) => selects(spec.selector, one.spec.template.metadata.labels))
          .map((one) => one.metadata.name),
        [metadata.name],
        kind,
      );
  });

for (const overlay of overlays.filter(isProduction))
  test(`${overlay}: each of our pods that stays has one budget: an API server evicts no pod with two`, () => {
    const budgets = objectsOf(overlay).filter(({ kind }) => kind === 'PodDisruptionBudget');
    const staying = workloadsIn(objectsOf(overlay)).filter(({ kind }) => kind !== 'Job');
    assert.ok(staying.length >= 7);
    for (const { metadata, spec } of staying)
      assert.equal(
        budgets.filter((one) => selects(one.spec.selector, spec.template.metadata.labels)).length,
        1,
        metadata.name,
      );
  });

test('a budget that permits no eviction says why in a comment above it', () => {
  const documents = filesLike(/^deploy\/kubernetes\/.*\.yaml$/).flatMap((file) => textOf(file).split(/^---\n/m));
  const never = documents.filter((text) =>
    objectsIn(text).some(({ kind, spec }) => kind === 'PodDisruptionBudget' && spec.maxUnavailable === 0),
  );
  assert.equal(never.length, 2);
  for (const text of never) assert.match(text, /^# \w/);
});
