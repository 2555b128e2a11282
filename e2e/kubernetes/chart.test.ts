import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { serviceNames, storeOwners } from '@interlock/local/services.ts';
import { systemRandom } from '@interlock/runtime';
import { runProgram } from '../../deploy/images/builder.ts';
import { makeSecrets } from '../../deploy/kubernetes/setup/secrets.ts';
import { textOf } from '../docs/sources.ts';
import { comparable, keyOf } from './comparable.ts';
import { type Helm, openHelm } from './helm.ts';
import { podProblems } from './pod-rules.ts';
import { containersOf, danglingIn, missingKeysIn, selects, workloadsIn } from './references.ts';
import { type KubernetesObject, objectsIn, type PodSelector, render } from './render.ts';
import { problemsOf } from './schemas.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-helm-'));
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

test('with default values the chart renders the same objects as the base (if not: npm run chart)', async () => {
  const rendered = await helm.template();
  assert.deepEqual(comparable(rendered), comparable(base));
  assert.ok(rendered.length >= 20);
  for (const { metadata } of rendered) assert.equal(metadata.labels?.['app.kubernetes.io/managed-by'], 'Helm');
});

test('the chart has the version of the project, and helm lint reports nothing', async () => {
  const { version } = JSON.parse(textOf('package.json'));
  assert.match(
    textOf('deploy/helm/interlock/Chart.yaml'),
    new RegExp(`^version: ${version}\\nappVersion: ${version}$`, 'm'),
  );
  await helm.lint();
});

test('the values of the chart can express everything that production sets for the services', async () => {
  const production = await render('production');
  const clients = find(production, 'NetworkPolicy clients').spec;
  const claim = find(production, 'PersistentVolumeClaim key-vault-seal-keys').spec;
  const services = storeOwners.map((name) => {
    const key = workloadsIn(base).some((one) => keyOf(one) === `Deployment ${name}`)
      ? `Deployment ${name}`
      : `StatefulSet ${name}`;
    const [ours, theirs] = [templateOf(base, key), templateOf(production, key)];
    const added = <Item>(more: readonly Item[] = [], less: readonly Item[] = []): readonly Item[] =>
      more.filter((item) => !less.some((one) => JSON.stringify(one) === JSON.stringify(item)));
    const { topologySpreadConstraints } = theirs;
    return [
      name,
      {
        volumes: added(theirs.volumes, ours.volumes),
        volumeMounts: added(theirs.containers[0]?.volumeMounts, ours.containers[0]?.volumeMounts),
        podSpec: topologySpreadConstraints === undefined ? {} : { topologySpreadConstraints },
        ...(name === 'key-vault' && { storage: { accessModes: claim.accessModes, className: claim.storageClassName } }),
      },
    ] as const;
  });
  const rendered = await helm.template({
    image: { registry: 'registry.example.com/interlock' },
    settings: find(production, 'ConfigMap interlock-settings').data,
    nats: { conf: find(production, 'ConfigMap nats-config').data?.['nats.conf'] },
    services: Object.fromEntries(services),
    networkPolicy: { ingress: clients.ingress, egress: clients.egress },
  });
  const own = comparable(rendered);
  const same = Object.fromEntries(Object.entries(comparable(production)).filter(([key]) => key in own));
  assert.deepEqual(sortedLists(own), sortedLists(same));
});

/** A strategic merge puts additions first, the chart last: the order of volumes and mounts has no meaning. */
const sortedLists = (value: unknown): unknown => {
  if (Array.isArray(value))
    return value.map(sortedLists).toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sortedLists(inner)]));
};

test('values set images, replicas, resources, settings, sizes and Secrets', async () => {
  const rendered = await helm.template({
    image: { registry: 'registry.test/own', tag: '9.9.9', pullSecrets: [{ name: 'registry' }] },
    settings: { LEASE_TTL_MS: '30000' },
    services: {
      identity: { digest, replicas: 3, secrets: { store: 'own-store', bootstrap: 'own-bootstrap' } },
      'key-vault': { storage: { existingClaim: 'own-claim' } },
      disk: { resources: { requests: { cpu: '4' } }, storage: { size: '500Gi', className: 'fast' } },
    },
  });
  const identity = find(rendered, 'Deployment identity').spec;
  assert.equal(identity.replicas, 3);
  const text = JSON.stringify(identity);
  for (const said of [`registry.test/own/identity@${digest}`, '"own-store"', '"own-bootstrap"', '"imagePullSecrets"'])
    assert.ok(text.includes(said), said);
  assert.equal(containersOf(find(rendered, 'StatefulSet compute'))[0]?.image, 'registry.test/own/compute:9.9.9');
  const settings = find(rendered, 'ConfigMap interlock-settings').data ?? {};
  assert.equal(settings.LEASE_TTL_MS, '30000');
  assert.equal(settings.STORE_HOST, 'postgres', 'other settings keep their defaults');
  const disk = find(rendered, 'StatefulSet disk');
  assert.equal(containersOf(disk)[0]?.resources?.requests?.cpu, '4');
  assert.deepEqual(disk.spec.volumeClaimTemplates?.[0]?.spec, {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '500Gi' } },
    storageClassName: 'fast',
  });
  assert.ok(!rendered.some(({ kind }) => kind === 'PersistentVolumeClaim'));
  const [claim] =
    templateOf(rendered, 'Deployment key-vault').volumes?.flatMap((one) => one.persistentVolumeClaim ?? []) ?? [];
  assert.equal(claim?.claimName, 'own-claim');
  assert.deepEqual(workloadsIn(rendered).flatMap(podProblems), []);
});

test('values set the image, resources and Secrets of the Job that creates the streams, and its connections', async () => {
  const egress = [{ to: [{ ipBlock: { cidr: '192.0.2.4/32' } }], ports: [{ protocol: 'TCP', port: 4222 }] }];
  const streams = {
    digest,
    resources: { limits: { memory: '1Gi' } },
    secrets: { nats: 'own-operator' },
    podSpec: { priorityClassName: 'own' },
  };
  const rendered = await helm.template({ image: { registry: 'registry.test/own' }, nats: { egress, streams } });
  const pod = templateOf(rendered, 'Job nats-streams');
  const [container] = pod.containers;
  assert.equal(container?.image, `registry.test/own/tools@${digest}`);
  assert.equal(container?.resources?.limits?.memory, '1Gi');
  const secrets = pod.volumes?.flatMap(({ secret }) => secret?.secretName ?? []);
  assert.deepEqual(secrets, ['own-operator', 'interlock-tls-client']);
  assert.ok(JSON.stringify(pod).includes('"priorityClassName":"own"'));
  const before = find(base, 'NetworkPolicy nats-streams').spec.egress ?? [];
  assert.deepEqual(find(rendered, 'NetworkPolicy nats-streams').spec.egress, [...before, ...egress]);
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
});

test('the commands of the README create a Postgres and a NATS that refer only to existing objects and keys', async () => {
  const readme = textOf('deploy/helm/README.md');
  const [, install = ''] = /^```\n([^`]*helm install[^`]*)^```$/m.exec(readme) ?? [];
  const files = [...install.matchAll(/--filename (\S+\.yaml)/g)].map(([, file = '']) => file);
  assert.deepEqual(files.map((file) => basename(file)).toSorted(), ['nats.yaml', 'postgres.yaml']);
  const [, conf = assert.fail('no --set-file nats.conf=… in the README')] =
    /--set-file nats\.conf=(\S+)/.exec(install) ?? [];
  const secrets = await makeSecrets({
    namespace: 'interlock',
    hasCertificates: false,
    now: Date.now(),
    random: systemRandom,
  });
  const trial = [
    ...files.flatMap((file) => objectsIn(textOf(file))),
    ...(await helm.template({ nats: { conf: textOf(conf) } })),
  ];
  assert.deepEqual(missingKeysIn(workloadsIn(trial), [...trial, ...secrets]), []);
  assert.deepEqual(danglingIn(trial, new Set(secrets.map(({ metadata }) => metadata.name))), []);
  // The server reads its configuration: it exits with an error if its container has no variable for an nkey.
  const { data = {} } = find(trial, 'ConfigMap nats-config');
  for (const [name, text] of Object.entries(data)) writeFileSync(join(folder, name), text);
  const users = containersOf(find(trial, 'StatefulSet nats'))[0]?.env?.filter(({ name }) => name.startsWith('NKEY_'));
  const keys = Object.fromEntries(
    (users ?? []).map(({ name, valueFrom: { secretKeyRef: { name: secret = '', key = '' } = {} } = {} }) => {
      const found = secrets.find(({ metadata }) => metadata.name === secret);
      return [name, Buffer.from(found?.data[key] ?? '', 'base64').toString()];
    }),
  );
  await runProgram(process.env.NATS_SERVER ?? 'nats-server', ['-t', '--config', join(folder, 'nats.conf')], {
    PATH: process.env.PATH,
    ...keys,
  });
});

test('the Job of the streams has another name when values change it, and only then: a Job cannot be changed', async () => {
  const nameWith = async (values: object): Promise<string> =>
    find(await helm.template(values), 'Job nats-streams').metadata.name;
  const name = await nameWith({});
  assert.match(name, /^nats-streams-[a-z0-9]{10}$/);
  assert.equal(await nameWith({ services: { disk: { storage: { size: '500Gi' } } } }), name);
  for (const values of [
    { image: { tag: '9.9.9' } },
    { image: { pullSecrets: [{ name: 'own' }] } },
    { nats: { streams: { digest } } },
    { nats: { streams: { resources: { limits: { memory: '1Gi' } } } } },
    { nats: { streams: { podSpec: { nodeSelector: { a: 'b' } } } } },
    { nats: { streams: { priorityClassName: 'own' } } },
  ])
    assert.notEqual(await nameWith(values), name, JSON.stringify(values));
});

test('an uninstall of the release keeps the seal keys', async () => {
  const { annotations } = find(await helm.template(), 'PersistentVolumeClaim key-vault-seal-keys').metadata;
  assert.equal(annotations?.['helm.sh/resource-policy'], 'keep');
});

test('every service has a TLSRoute with its name and port, and an API server accepts every object', async () => {
  const tlsRoutes = {
    enabled: true,
    domain: 'interlock.test',
    parentRefs: [{ name: 'public', namespace: 'gateways' }],
  };
  const rendered = await helm.template({ tlsRoutes });
  for (const name of storeOwners) {
    const { hostnames, parentRefs, rules } = find(rendered, `TLSRoute ${name}`).spec;
    const vaults = name === 'gateway' ? ['*.vault.interlock.test'] : [];
    assert.deepEqual(hostnames, [`${name}.interlock.test`, ...vaults]);
    assert.deepEqual(parentRefs, tlsRoutes.parentRefs);
    const [port] = find(rendered, `Service ${name}`).spec.ports ?? [];
    assert.deepEqual(rules, [{ backendRefs: [{ name, port: port?.port }] }]);
  }
  const problems = await Promise.all(rendered.map(problemsOf));
  assert.deepEqual(problems.flat(), []);
});

test('without switches the chart has no budgets, autoscalers or objects of Prometheus and Grafana', async () => {
  const kinds = new Set((await helm.template()).map(({ kind }) => kind));
  for (const kind of ['PodDisruptionBudget', 'HorizontalPodAutoscaler', 'PodMonitor', 'PrometheusRule'])
    assert.equal(kinds.has(kind), false, kind);
});

test('budgets, autoscaling, alerts and the dashboard are those of the overlays', async () => {
  const runbooks = 'https://runbooks.test/operations.md';
  const rendered = await helm.template({
    budgets: { enabled: true },
    autoscaling: { enabled: true },
    monitoring: { rules: { enabled: true, runbooks, labels: { release: 'own' } }, dashboard: { enabled: true } },
  });
  const [production, local] = await Promise.all([render('production'), render('local')]);
  for (const name of storeOwners)
    assert.deepEqual(
      find(rendered, `PodDisruptionBudget ${name}`).spec,
      find(production, `PodDisruptionBudget ${name}`).spec,
    );
  const scalers = local.filter(({ kind }) => kind === 'HorizontalPodAutoscaler');
  assert.equal(scalers.length, 3);
  for (const scaler of scalers) assert.deepEqual(find(rendered, keyOf(scaler)).spec, scaler.spec);
  const rule = find(rendered, 'PrometheusRule interlock');
  const text = JSON.stringify(find(production, 'PrometheusRule interlock').spec);
  assert.equal(
    JSON.stringify(rule.spec.groups),
    JSON.stringify(
      JSON.parse(text.replaceAll('https://runbooks.example.com/interlock/operations.md', runbooks)).groups,
    ),
  );
  assert.equal(rule.metadata.labels?.release, 'own');
  const dashboard = find(rendered, 'ConfigMap interlock-dashboards');
  assert.deepEqual(dashboard.data, find(production, 'ConfigMap interlock-dashboards').data);
  assert.equal(dashboard.metadata.labels?.grafana_dashboard, '1');
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
});

test('a PodMonitor reads the metrics of each service at the port where they are, which a policy opens', async () => {
  const from = [{ namespaceSelector: { matchLabels: { team: 'observers' } } }];
  const monitoring = { podMonitor: { enabled: true, from } };
  const rendered = await helm.template({ monitoring, diskHosts: { enabled: true }, vmHosts: { enabled: true } });
  const { data = {} } = find(rendered, 'ConfigMap interlock-settings');
  assert.equal(data.OTEL_METRICS_EXPORTER, 'prometheus');
  assert.equal(data.OTEL_EXPORTER_PROMETHEUS_HOST, '0.0.0.0');
  const monitor = find(rendered, 'PodMonitor interlock').spec;
  const [endpoint] = monitor.podMetricsEndpoints ?? [];
  const [, port] = /`OTEL_EXPORTER_PROMETHEUS_PORT` .* ([0-9,]+) \|/.exec(textOf('docs/settings.md')) ?? [];
  assert.equal(endpoint?.portNumber, Number(port?.replace(',', '')));
  const policy = find(rendered, 'NetworkPolicy metrics').spec;
  assert.deepEqual(policy.ingress, [{ from, ports: [{ port: endpoint?.portNumber, protocol: 'TCP' }] }]);
  for (const { spec } of workloadsIn(rendered).filter(({ kind }) => kind !== 'Job')) {
    assert.ok(selects(monitor.selector as PodSelector, spec.template.metadata.labels));
    assert.ok(selects(policy.podSelector, spec.template.metadata.labels));
  }
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
});

test('each service and the Job take a priority class', async () => {
  const priorityClassName = 'critical';
  const services = Object.fromEntries(storeOwners.map((name) => [name, { priorityClassName }]));
  const rendered = await helm.template({ services, nats: { streams: { priorityClassName } } });
  for (const { metadata, spec } of workloadsIn(rendered))
    assert.equal(spec.template.spec.priorityClassName, priorityClassName, metadata.name);
});

const refused: readonly (readonly [string, object, RegExp])[] = [
  ['a value that the chart does not have', { replicas: 3 }, /replicas/],
  ['a service that does not exist', { services: { vault: {} } }, /vault/],
  ['more than one disk host', { services: { disk: { replicas: 2 } } }, /replicas/],
  ['a setting that is not a string', { settings: { LEASE_TTL_MS: 30_000 } }, /LEASE_TTL_MS/],
  ['a value that the streams Job does not have', { nats: { streams: { replicas: 2 } } }, /replicas/],
  ['an invalid digest', { services: { identity: { digest: 'sha256:1' } } }, /digest/],
  ['an autoscaler for a host', { autoscaling: { enabled: true, services: ['disk'] } }, /autoscaling/],
  [
    'an autoscaler and a number of replicas',
    { autoscaling: { enabled: true }, services: { identity: { replicas: 3 } } },
    /services\.identity\.replicas is 3, and autoscaling sets the number/,
  ],
  [
    'an autoscaler for key-vault with a claim of one node',
    { autoscaling: { enabled: true, services: ['key-vault'] } },
    /seal keys that several nodes can mount/,
  ],
  ['routes without a domain', { tlsRoutes: { enabled: true } }, /tlsRoutes\.domain is required/],
];
for (const [what, values, words] of refused)
  test(`the chart refuses ${what}`, async () => {
    await assert.rejects(helm.template(values), words);
  });

test('the values of the README render to valid objects', async () => {
  const [, values = ''] = /^```yaml\n([^`]*)^```$/m.exec(textOf('deploy/helm/README.md')) ?? [];
  const rendered = await helm.template(objectsIn(values)[0]);
  const mounts = containersOf(find(rendered, 'Deployment identity'))[0]?.volumeMounts ?? [];
  assert.ok(mounts.some(({ mountPath }) => mountPath === '/secrets/nats'));
  assert.deepEqual((await Promise.all(rendered.map(problemsOf))).flat(), []);
  assert.deepEqual(workloadsIn(rendered).flatMap(podProblems), []);
});

test('the notes name every Secret that must exist', async () => {
  const notes = await helm.notes();
  for (const service of storeOwners)
    for (const kind of ['store', 'tls', 'workload']) assert.ok(notes.includes(`interlock-${kind}-${service}`), notes);
  for (const name of [
    ...serviceNames.map((service) => `interlock-nats-${service}`),
    'interlock-bootstrap',
    'interlock-nats-operator',
    'interlock-tls-client',
  ])
    assert.ok(notes.includes(name), notes);
});
