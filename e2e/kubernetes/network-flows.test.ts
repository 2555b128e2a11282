import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceNames } from '@interlock/local/services.ts';
import { textOf } from '../docs/sources.ts';
import { blocked, type Place } from './network-flows.ts';
import { workloadsIn } from './references.ts';
import { type Overlay, objectsIn, overlays, renderOverlays } from './render.ts';

/**
 * Checks every connection that the system needs against the policies in both directions. Connections that it does not need
 * must be refused.
 */

const rendered = await renderOverlays();

const partOf = { 'app.kubernetes.io/part-of': 'interlock' };
const named = (name: string): Place => ({ labels: { 'app.kubernetes.io/name': name, ...partOf } });
/** The services, and their control processes and disk hosts (components `disk-hosts` and `vm-hosts`). */
const services = [...serviceNames, 'disk-control', 'disk-host', 'compute-control'].map(named);
const vmHost = named('vm-host');
/** What a VM host and its guests call. */
const calledByVmHosts = ['identity', 'compute-control', 'disk', 'disk-host'].map(named);
const gateway = named('gateway');
/** The places that have a store, and export spans and metrics. */
const storing = [...services, gateway];
const rehearsal = named('rehearsal');
const collector = named('otel-collector');
const apiServer: Place = { labels: {}, isOutside: true };
const names: Place = { labels: { 'k8s-app': 'kube-dns' }, namespace: 'kube-system' };
/** The labels that CloudNativePG sets on its objects. */
const cnpg = { 'cnpg.io/cluster': 'interlock-postgres', 'app.kubernetes.io/name': 'postgresql' };
const postgres: Place = { labels: { ...cnpg, ...partOf, 'cnpg.io/instanceName': 'interlock-postgres-1' } };
const postgresJob: Place = { labels: { ...cnpg, 'cnpg.io/jobRole': 'join' } };
/** A restored cluster has another name, because the earlier one still exists. */
const restored: Place = { labels: { ...postgres.labels, 'cnpg.io/cluster': 'interlock-postgres-2' } };
const restoreJob: Place = { labels: { 'cnpg.io/cluster': 'interlock-postgres-2', 'cnpg.io/jobRole': 'full-recovery' } };
const operator: Place = { labels: { 'app.kubernetes.io/name': 'cloudnative-pg' }, namespace: 'cnpg-system' };
const telemetry = (name: string, namespace: string): Place => ({ labels: { app: name }, namespace });
const observability = (name: string): Place => telemetry(name, 'observability');
const person: Place = { labels: {}, namespace: 'callers' };
const colleague: Place = { labels: {}, namespace: 'colleagues' };
/** The labels that Chaos Mesh sets on the pod of a Task. */
const task: Place = { labels: { 'chaos-mesh.org/workflow': 'revoke-x', 'chaos-mesh.org/controlled-by': 'revoke-x-1' } };
const stranger: Place = { labels: {} };

type Flow = readonly [string, Place | readonly Place[], Place | readonly Place[], number];

/**
 * Ports of API servers. Policies see the port behind the Service `kubernetes`, not its 443: kubeadm, kind and k3s use 6443,
 * minikube 8443, MicroK8s 16443; managed clusters use 443.
 */
const apiServerPorts = [443, 6443, 8443, 16443] as const;
const toApiServer = (what: string, from: Place | readonly Place[]): readonly Flow[] =>
  apiServerPorts.map((port) => [`${what} (${port})`, from, apiServer, port]);

const inEvery: readonly Flow[] = [
  ['services call each other, and guests their disk host', services, services, 7400],
  ['services publish and consume facts', services, named('nats'), 4222],
  ['an operator creates the streams', named('nats-streams'), named('nats'), 4222],
  ['a rehearsal calls services', rehearsal, services, 7400],
  ['a rehearsal reads the files of hosts', rehearsal, named('rehearsal-files'), 7443],
  ['the gateway calls services for its clients', gateway, services, 7400],
];
const inOwnServers: readonly Flow[] = [
  ['services store', storing, named('postgres'), 5432],
  ['services export spans and metrics', storing, collector, 4318],
  ['traces are kept', collector, named('jaeger'), 4317],
  ['a rehearsal gets its spans', collector, rehearsal, 4318],
  ...toApiServer('setup creates Secrets', named('setup')),
  ['metrics are scraped', [observability('prometheus'), telemetry('prometheus', 'monitoring')], collector, 9464],
  ['NATS metrics are scraped', collector, named('nats'), 7777],
];
/** @param collector receives spans and metrics, @param caller where users may call from */
const inProduction = (collector: Place, caller: Place): readonly Flow[] => [
  ...inEvery,
  ['services store', storing, postgres, 5432],
  ['services export spans and metrics', storing, collector, 4318],
  ['NATS servers form a cluster', named('nats'), named('nats'), 6222],
  ['Postgres servers replicate', postgres, postgres, 5432],
  ['a new Postgres server copies the first', postgresJob, postgres, 5432],
  ...toApiServer('Postgres servers watch their Cluster and reach the object store, Jobs too', [postgres, postgresJob]),
  ['a restore reads the object store', [restoreJob, restored], apiServer, 443],
  ['a restore copies to its own cluster', restoreJob, restored, 5432],
  ['services store in the restored cluster', storing, restored, 5432],
  ['the operator calls the restored cluster', operator, restored, 8000],
  ['the operator calls its Postgres servers', operator, postgres, 8000],
  ['NATS metrics are scraped', { ...collector, labels: { app: 'prometheus' } }, named('nats'), 7777],
  ['Postgres metrics are scraped', { ...collector, labels: { app: 'prometheus' } }, postgres, 9187],
  ['a rehearsal gets its spans', collector, rehearsal, 4318],
  ['users call from allowed places', caller, services, 7400],
  ['Azure clients call from allowed places', caller, gateway, 8443],
];
/** @param collector receives spans and metrics */
const ofVmHosts = (collector: Place): readonly Flow[] => [
  ['VM hosts request tokens and register, and guests reach their disk host', vmHost, calledByVmHosts, 7400],
  ['compute calls VM hosts', named('compute-control'), vmHost, 7400],
  ['VM hosts export spans and metrics', vmHost, collector, 4318],
];
const needed: Readonly<Record<Overlay, readonly Flow[]>> = {
  local: [...inEvery, ...inOwnServers],
  'local-hosts': [...inEvery, ...inOwnServers, ...ofVmHosts(collector)],
  chaos: [
    ...inEvery,
    ...inOwnServers,
    ['a Task of a Workflow calls services', task, services, 7400],
    ['a Job of an experiment calls services', named('experimenter'), services, 7400],
  ],
  production: inProduction(observability('collector'), person),
  'production-hosts': [...inProduction(observability('collector'), person), ...ofVmHosts(observability('collector'))],
  example: [
    ...inProduction(telemetry('collector', 'monitoring'), colleague),
    ['a gateway passes calls through', { labels: { app: 'gateway' }, namespace: 'colleagues' }, services, 7400],
  ],
};
const unwanted: readonly Flow[] = [
  ['a stranger in the namespace', stranger, services, 7400],
  ['a guest reaches keys or sets', vmHost, ['key-vault', 'disk-encryption-set', 'disk-control'].map(named), 7400],
  ['a guest reaches another VM host', vmHost, vmHost, 7400],
  ['a guest reads a store', vmHost, [named('postgres'), postgres], 5432],
  ['a guest publishes a fact', vmHost, named('nats'), 4222],
  ['a guest leaves the cluster', vmHost, apiServer, 443],
  [
    'another pod than compute calls a VM host',
    [
      stranger,
      gateway,
      rehearsal,
      person,
      ...services.filter(({ labels }) => labels['app.kubernetes.io/name'] !== 'compute-control'),
    ],
    vmHost,
    7400,
  ],
  ['NATS calls a service', named('nats'), services, 7400],
  ['a stranger in the namespace calls the gateway', [stranger, named('nats'), ...services], gateway, 8443],
  ['the gateway publishes a fact', gateway, named('nats'), 4222],
  ['the gateway leaves the cluster', gateway, apiServer, 443],
  ['another pod reads the files of hosts', [stranger, ...services, gateway], named('rehearsal-files'), 7443],
  ['a pod with files of hosts calls a service', named('rehearsal-files'), services, 7400],
  ['a rehearsal reads a store', rehearsal, [named('postgres'), postgres], 5432],
  ['a rehearsal publishes a fact', rehearsal, named('nats'), 4222],
  [
    'the Job of streams calls a service or a store',
    named('nats-streams'),
    [...services, named('postgres'), postgres],
    7400,
  ],
  ['the Job of streams reads a store', named('nats-streams'), [named('postgres'), postgres], 5432],
  ['a service leaves the cluster', services, apiServer, 443],
  ['another namespace calls a service', { labels: partOf, namespace: 'other' }, services, 7400],
  ['another namespace reads a store', { labels: partOf, namespace: 'other' }, [named('postgres'), postgres], 5432],
  ['another namespace publishes a fact', person, named('nats'), 4222],
  ['a pod reads metrics', [stranger, ...services, rehearsal], collector, 9464],
  ['another namespace reads metrics', { labels: { app: 'prometheus' }, namespace: 'other' }, collector, 9464],
];

const each = (places: Place | readonly Place[]): readonly Place[] => ('labels' in places ? [places] : places);
const pairs = ([, from, to]: Flow) => each(from).flatMap((one) => each(to).map((other) => [one, other] as const));

for (const overlay of overlays) {
  test(`${overlay}: the rules at both ends allow every needed connection`, () => {
    const objects = rendered.get(overlay) ?? [];
    const problems = needed[overlay].flatMap((flow) =>
      pairs(flow).flatMap(([from, to]) =>
        blocked(objects, from, to, flow[3]).map(
          (way) => `${flow[0]}: nothing lets it ${way} (${JSON.stringify([from, to])})`,
        ),
      ),
    );
    assert.deepEqual(problems, []);
  });

  test(`${overlay}: every pod may call DNS`, () => {
    const objects = rendered.get(overlay) ?? [];
    const pods = workloadsIn(objects).map(({ spec }): Place => ({ labels: spec.template.metadata.labels }));
    for (const pod of [...pods, rehearsal, postgresJob, task])
      for (const protocol of ['UDP', 'TCP']) assert.deepEqual(blocked(objects, pod, names, 53, protocol), []);
  });

  test(`${overlay}: unneeded connections are refused`, () => {
    const objects = rendered.get(overlay) ?? [];
    for (const flow of unwanted)
      for (const [from, to] of pairs(flow)) assert.notDeepEqual(blocked(objects, from, to, flow[3]), [], flow[0]);
  });
}

test('the policies of LitmusChaos allow its pods and Jobs the connections of their probes and faults', () => {
  const own = objectsIn(textOf('deploy/kubernetes/experiments/litmus/policies.yaml'));
  const litmus: Place = { labels: { 'app.kubernetes.io/part-of': 'litmus' } };
  for (const overlay of overlays) {
    const objects = [...(rendered.get(overlay) ?? []), ...own];
    for (const [to, port] of [
      ...apiServerPorts.map((port) => [apiServer, port] as const),
      [observability('prometheus'), 9090],
      ...services.map((service) => [service, 7480] as const),
    ] as const) {
      assert.deepEqual(blocked(objects, litmus, to, port), []);
      assert.notDeepEqual(blocked(rendered.get(overlay) ?? [], litmus, to, port), [], 'not without them');
    }
    assert.notDeepEqual(blocked(objects, litmus, named('postgres'), 5432), []);
    // The Jobs that take the key away and restore it.
    for (const service of services) assert.deepEqual(blocked(objects, named('experimenter'), service, 7400), []);
  }
});
