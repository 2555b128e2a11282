import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { makeSecrets } from '../../deploy/kubernetes/setup/secrets.ts';
import { textOf } from '../docs/sources.ts';
import { type Cluster, podOf } from './pods.ts';
import { workloadsIn } from './references.ts';
import { hasKubectl, type KubernetesObject, type PodSpec, render } from './render.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-pods-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const given = new Map<string, number>();
let cluster: Cluster;
before(async () => {
  assert.ok(hasKubectl(), 'kubectl is needed to render the overlays: apt-get install kubernetes-client');
  const request = { namespace: 'interlock', hasCertificates: false, now: Date.now(), random: systemRandom };
  cluster = {
    objects: await render('local'),
    secrets: new Map((await makeSecrets(request)).map(({ metadata, data }) => [metadata.name, data])),
    folder,
    namespace: 'interlock',
    give: (file, group) => given.set(file, group),
  };
});

const workload = (name: string): KubernetesObject =>
  workloadsIn(cluster.objects).find(({ metadata }) => metadata.name === name) ?? assert.fail(`no workload ${name}`);
const specOf = (name: string): PodSpec => {
  const pod = podOf(workload(name), cluster).objects.find(({ kind }) => kind === 'Pod');
  assert.ok(pod !== undefined && 'spec' in pod);
  return pod.spec as PodSpec;
};

test('podman can run every pod: variables have values, Secrets are files, and volumes have an owner', () => {
  for (const object of workloadsIn(cluster.objects)) {
    const { objects } = podOf(object, cluster);
    const text = JSON.stringify(objects.filter(({ kind }) => kind === 'Pod'));
    for (const left of ['"secret":', '"valueFrom"', '"emptyDir"', '$(', 'Probe"', '"lifecycle"'])
      assert.ok(!text.includes(left), `${object.metadata.name} still has ${left}`);
    for (const { kind, metadata } of objects)
      if (kind === 'PersistentVolumeClaim') assert.ok(metadata.annotations, `${metadata.name} has an owner`);
  }
});

test('a variable may refer to earlier variables, to Secrets and to its pod', () => {
  const env = new Map(specOf('disk').containers[0]?.env?.map(({ name, value }) => [name, value]));
  assert.equal(env.get('DATA_ADDRESS'), 'disk-0.disk.interlock.svc:7400');
  const [user, password] = ['username', 'password'].map((key) =>
    Buffer.from(cluster.secrets.get('interlock-store-disk')?.[key] ?? '', 'base64').toString(),
  );
  assert.equal(env.get('DATABASE_URL'), `postgres://${user}:${password}@postgres:5432/interlock_disk`);
});

test('the files of a Secret get the group of the pod and the mode of the volume', () => {
  specOf('key-vault');
  const place = join(folder, 'interlock-workload-key-vault-10001');
  assert.deepEqual(readdirSync(place).sort(), ['id', 'master-key', 'secret']);
  assert.equal(statSync(join(place, 'master-key')).mode & 0o777, 0o440);
  assert.equal(readFileSync(join(place, 'master-key')).length, 32);
  assert.equal(given.get(join(place, 'master-key')), 10_001);
});

test('a pod of a StatefulSet has a numbered name, its own volume and its DNS names', () => {
  const { name, aliases, objects } = podOf(workload('disk'), cluster);
  assert.equal(name, 'disk-0');
  assert.ok(aliases.includes('disk') && aliases.includes('disk-0.disk.interlock.svc'));
  assert.ok(objects.some(({ kind, metadata }) => kind === 'PersistentVolumeClaim' && metadata.name === 'data-disk-0'));
});

test('the Postgres container stops on SIGINT like the official image: SIGTERM waits for every client', () => {
  assert.match(textOf('e2e/kubernetes/stand-ins/postgres.Containerfile'), /^STOPSIGNAL SIGINT$/m);
});

test('names a missing Secret, key or ConfigMap', () => {
  const without = {
    ...cluster,
    secrets: new Map([...cluster.secrets].filter(([name]) => name !== 'interlock-tls-disk')),
  };
  assert.throws(() => podOf(workload('disk'), without), /the cluster has no Secret interlock-tls-disk/);
  const empty = { ...cluster, secrets: new Map([...cluster.secrets, ['interlock-store-disk', {}]]) };
  assert.throws(() => podOf(workload('disk'), empty), /Secret interlock-store-disk has no username/);
  const bare = { ...cluster, objects: cluster.objects.filter(({ kind }) => kind !== 'ConfigMap') };
  assert.throws(() => podOf(workload('disk'), bare), /the overlay has no ConfigMap/);
});

test('a variable of a container goes before one of its ConfigMap, as in a cluster', () => {
  const object = workload('compute');
  const [container] = object.spec.template.spec.containers;
  assert.ok(container);
  const env = [...(container.env ?? []), { name: 'SHUTDOWN_GRACE_MS', value: '7' }];
  const { template } = object.spec;
  const spec = { ...template.spec, containers: [{ ...container, env }] };
  const { objects } = podOf({ ...object, spec: { ...object.spec, template: { ...template, spec } } }, cluster);
  const found = objects.flatMap((one) => (one.kind === 'Pod' && 'spec' in one ? [one.spec as PodSpec] : []));
  const values = new Map(found[0]?.containers[0]?.env?.map(({ name, value }) => [name, value]));
  assert.deepEqual([values.get('SHUTDOWN_GRACE_MS'), values.get('STORE_HOST')], ['7', 'postgres']);
  assert.equal(found[0]?.containers[0]?.envFrom, undefined);
});

test('each pod of a StatefulSet has its own name, claim and DNS name, and only the Services that select it', async () => {
  const hosts = { ...cluster, objects: await render('local-hosts') };
  const of = (name: string): KubernetesObject =>
    workloadsIn(hosts.objects).find(({ metadata }) => metadata.name === name) ?? assert.fail(name);
  const { name, aliases, objects } = podOf(of('vm-host'), hosts, 2);
  assert.equal(name, 'vm-host-2');
  assert.ok(aliases.includes('vm-host-2.vm-host.interlock.svc'));
  assert.ok(
    objects.some(({ kind, metadata }) => kind === 'PersistentVolumeClaim' && metadata.name === 'data-vm-host-2'),
  );
  assert.deepEqual(podOf(of('disk'), hosts).aliases, ['disk-0', 'disk-0.interlock.svc']);
  // podman also finds a pod by the names of its containers.
  for (const { kind, ...pod } of podOf(of('disk-host'), hosts, 1).objects)
    if (kind === 'Pod' && 'spec' in pod)
      assert.deepEqual(
        (pod.spec as PodSpec).containers.map((one) => one.name),
        ['disk-host-1'],
      );
  assert.deepEqual(podOf(of('disk-control'), hosts).aliases, ['disk', 'disk.interlock.svc']);
});
