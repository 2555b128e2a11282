import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { comparable, keyOf } from './comparable.ts';
import { type Helm, openHelm } from './helm.ts';
import { podProblems } from './pod-rules.ts';
import { workloadsIn } from './references.ts';
import { type KubernetesObject, render } from './render.ts';
import { problemsOf } from './schemas.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-helm-hosts-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let helm: Helm;
let base: readonly KubernetesObject[] = [];
before(async () => {
  helm = openHelm(folder, process.env);
  base = await render('kubernetes/base');
});
const find = (objects: readonly KubernetesObject[], key: string): KubernetesObject =>
  objects.find((object) => keyOf(object) === key) ?? assert.fail(`no ${key}`);
const digest = `sha256:${'1'.repeat(64)}`;
const templateOf = (objects: readonly KubernetesObject[], key: string) => find(objects, key).spec.template.spec;

test('with several disk hosts the chart renders the same objects as the base with the component (if not: npm run chart)', async () => {
  const expected = await render('helm/disk-hosts');
  const rendered = await helm.template({ diskHosts: { enabled: true } });
  assert.deepEqual(comparable(rendered), comparable(expected));
  assert.equal(rendered.length, base.length + 7);
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
  assert.deepEqual(workloadsIn(rendered).flatMap(podProblems), []);
  const off = await helm.template({ diskHosts: { enabled: true, replicas: 5, firstHost: false } });
  assert.equal(find(off, 'StatefulSet disk-host').spec.replicas, 5);
  assert.equal(find(off, 'StatefulSet disk').spec.replicas, 0);
});

test('with VM hosts the chart renders the same objects as the base with the component (if not: npm run chart)', async () => {
  const expected = await render('helm/vm-hosts');
  const rendered = await helm.template({ vmHosts: { enabled: true } });
  assert.deepEqual(comparable(rendered), comparable(expected));
  assert.equal(rendered.length, base.length + 9);
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
  assert.deepEqual(workloadsIn(rendered).flatMap(podProblems), []);
});

test('hosts of disks and of guests together are both components, with the values of each', async () => {
  const egress = [{ to: [{ ipBlock: { cidr: '192.0.2.4/32' } }], ports: [{ protocol: 'TCP', port: 4318 }] }];
  const values = {
    diskHosts: { enabled: true, maxUnavailable: 0 },
    vmHosts: { enabled: true, replicas: 5, egress },
    services: {
      compute: { digest, resources: { requests: { cpu: '4' } }, storage: { size: '9Gi', className: 'fast' } },
    },
  };
  const rendered = await helm.template(values);
  assert.equal(rendered.length, base.length + 7 + 9);
  assert.equal(find(rendered, 'PodDisruptionBudget disk-host').spec.maxUnavailable, 0);
  const host = find(rendered, 'StatefulSet vm-host').spec;
  assert.equal(host.replicas, 5);
  assert.equal(host.volumeClaimTemplates?.[0]?.spec.storageClassName, 'fast');
  for (const [key, isHost] of [
    ['StatefulSet vm-host', true],
    ['Deployment compute-control', false],
  ] as const) {
    const [container] = templateOf(rendered, key).containers;
    assert.equal(container?.image, `localhost/interlock/compute@${digest}`);
    assert.equal(container?.resources?.requests?.cpu === '4', isHost, key);
  }
  const own = find(await render('helm/vm-hosts'), 'NetworkPolicy vm-hosts').spec.egress ?? [];
  assert.deepEqual(find(rendered, 'NetworkPolicy vm-hosts').spec.egress, [...own, ...egress]);
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
});

test('several disk hosts have the image, Secrets, volumes and storage of the values of disk', async () => {
  const disk = {
    digest,
    resources: { requests: { cpu: '4' } },
    secrets: { store: 'own-store' },
    storage: { size: '500Gi', className: 'fast' },
    priorityClassName: 'own',
    volumes: [{ name: 'more', emptyDir: {} }],
    volumeMounts: [{ name: 'more', mountPath: '/more' }],
  };
  const rendered = await helm.template({ diskHosts: { enabled: true }, services: { disk } });
  for (const key of ['Deployment disk-control', 'StatefulSet disk-host', 'StatefulSet disk']) {
    const pod = templateOf(rendered, key);
    assert.equal(pod.containers[0]?.image, `localhost/interlock/disk@${digest}`, key);
    assert.equal(pod.priorityClassName, 'own', key);
    for (const said of ['"own-store"', '"/more"']) assert.ok(JSON.stringify(pod).includes(said), `${key}: ${said}`);
    const isHost = key.startsWith('StatefulSet');
    assert.equal(pod.containers[0]?.resources?.requests?.cpu === '4', isHost, key);
    if (isHost) assert.equal(find(rendered, key).spec.volumeClaimTemplates?.[0]?.spec.storageClassName, 'fast');
  }
});
