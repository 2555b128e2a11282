import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hostSpec } from '@interlock/host';
import { natsUsers } from '@interlock/local/nats-authorization.ts';
import { type ServiceName, serviceNames, storeOwners } from '@interlock/local/services.ts';
import { readConfig, variableOf } from '@interlock/runtime';
import { nkeyVariableOf } from '../../deploy/kubernetes/setup/nats-authorization.ts';
import { namesNeeded, secretNames } from '../../deploy/kubernetes/setup/secrets.ts';
import { computeSpec } from '../../services/compute/src/settings.ts';
import { diskSpec } from '../../services/disk/src/settings.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import { podProblems } from './pod-rules.ts';
import { restrictedProblems } from './pod-security.ts';
import { containersOf, danglingIn, selects, workloadsIn } from './references.ts';
import {
  isProduction,
  type KubernetesObject,
  type Overlay,
  objectsIn,
  overlays,
  plainName,
  renderOverlays,
} from './render.ts';
import { problemsOf } from './schemas.ts';

const rendered = await renderOverlays();
const objectsOf = (overlay: Overlay): readonly KubernetesObject[] => rendered.get(overlay) ?? [];
const find = (overlay: Overlay, kind: string, name: string): KubernetesObject =>
  objectsOf(overlay).find((object) => object.kind === kind && plainName(object) === name) ??
  assert.fail(`${overlay} has no ${kind} ${name}`);
const own = (overlay: Overlay) =>
  workloadsIn(objectsOf(overlay)).filter(({ metadata }) =>
    storeOwners.some((name) => name === serviceOf(metadata.name)),
  );

/** The service of a workload: disk and compute may have control processes and hosts (components `disk-hosts` and `vm-hosts`). */
const serviceOf = (workload: string): string =>
  workload.replace(/^(disk|compute)-(control|host)$/, '$1').replace(/^vm-host$/, 'compute');

/** Those with a store. A VM host has none. */
const storing = (overlay: Overlay) => own(overlay).filter(({ metadata }) => metadata.name !== 'vm-host');

/** Secrets that the example fetches from a store outside of the cluster. */
const fetchedIn = (objects: readonly KubernetesObject[]): readonly string[] =>
  objects.flatMap(({ kind, spec }) => (kind === 'ExternalSecret' ? (spec.target?.name ?? []) : []));

/** Secrets that exist before an overlay is applied, or that it creates. */
const secretsOf = (overlay: Overlay): ReadonlySet<string> =>
  isProduction(overlay)
    ? new Set([
        // The example names the Secrets that it fetches; production expects them to exist.
        ...(overlay === 'example' ? fetchedIn(objectsOf(overlay)) : namesNeeded(true)),
        ...objectsOf(overlay).flatMap(({ kind, spec }) => (kind === 'Certificate' ? (spec.secretName ?? []) : [])),
        // The operator creates the authority of each cluster itself.
        ...objectsOf(overlay).flatMap(({ kind, metadata }) => (kind === 'Cluster' ? `${metadata.name}-ca` : [])),
      ])
    : new Set(namesNeeded(false));

test('G5: production settings allow 90 s for a Postgres failover and 15 s to recover before I/O fails', () => {
  const failoverMs = 90_000;
  /** Until leases are renewed and the vault responds again. */
  const recoveryMs = 15_000;
  for (const overlay of overlays.filter(isProduction)) {
    const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings') as { data?: Record<string, string> };
    const { leaseTtlMs, hostLeaseTtlMs, ioPauseTimeoutMs } = readConfig(data, {
      leaseTtlMs: diskSpec.leaseTtlMs,
      hostLeaseTtlMs: diskSpec.hostLeaseTtlMs,
      ioPauseTimeoutMs: diskSpec.ioPauseTimeoutMs,
    });
    const { guestIoTimeoutMs } = readConfig(data, { guestIoTimeoutMs: computeSpec.guestIoTimeoutMs });
    const bounds = ['LEASE_TTL_MS', 'HOST_LEASE_TTL_MS', 'IO_PAUSE_TIMEOUT_MS', 'GUEST_IO_TIMEOUT_MS'];
    // A variable of the container would override the ConfigMap.
    for (const service of ['disk', 'compute'] as const) {
      const [container] = containersOf(find(overlay, 'StatefulSet', service));
      const set = (container?.env ?? []).map(({ name }: { name: string }) => name);
      assert.deepEqual(
        set.filter((name: string) => bounds.includes(name)),
        [],
        service,
      );
    }
    // A lease is renewed at half of its time at the latest, that of the host at a third.
    const pausesAfterMs = Math.min(leaseTtlMs / 2, (hostLeaseTtlMs * 2) / 3);
    const failsAfterMs = pausesAfterMs + Math.min(ioPauseTimeoutMs, guestIoTimeoutMs - 250);
    assert.ok(failsAfterMs >= failoverMs + recoveryMs, `${overlay}: fails after ${failsAfterMs} ms`);
  }
});

for (const overlay of overlays) {
  describe(`the ${overlay} overlay`, () => {
    test('the schema of its API server accepts every object', async () => {
      const problems: string[] = [];
      for (const object of objectsOf(overlay))
        for (const problem of await problemsOf(object))
          problems.push(`${object.kind} ${object.metadata.name}: ${problem}`);
      assert.deepEqual(problems, []);
      assert.ok(objectsOf(overlay).length > 40);
    });

    test('names are unique, and every object is in the namespace', () => {
      const names = objectsOf(overlay).map(
        ({ apiVersion, kind, metadata }) => `${apiVersion} ${kind} ${metadata.name}`,
      );
      assert.deepEqual(names, [...new Set(names)]);
      for (const { kind, metadata } of objectsOf(overlay))
        if (kind !== 'Namespace') assert.equal(metadata.namespace, 'interlock', `${kind} ${metadata.name}`);
    });

    test('every referenced object exists', () => {
      assert.deepEqual(danglingIn(objectsOf(overlay), secretsOf(overlay)), []);
    });

    test('pods are restricted, limited and probed, images have labels, and no secret is in plain text', () => {
      assert.deepEqual(workloadsIn(objectsOf(overlay)).flatMap(podProblems), []);
      assert.equal(objectsOf(overlay).filter(({ kind }) => kind === 'Secret').length, 0);
      assert.equal(
        find(overlay, 'Namespace', 'interlock').metadata.labels?.['pod-security.kubernetes.io/enforce'],
        'restricted',
      );
    });

    test('PodSecurity restricted admits every pod, control by control', () => {
      for (const { metadata, spec } of workloadsIn(objectsOf(overlay)))
        assert.deepEqual(restrictedProblems(spec.template.spec), [], metadata.name);
    });
  });

  describe(`the settings and connections of the ${overlay} overlay`, () => {
    test('liveness depends on no other service, and the shutdown fits into the grace period', () => {
      const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
      for (const workload of own(overlay)) {
        const { terminationGracePeriodSeconds = 30 } = workload.spec.template.spec;
        for (const { livenessProbe, readinessProbe, startupProbe, lifecycle } of containersOf(workload)) {
          assert.equal(livenessProbe?.httpGet?.path, '/livez');
          assert.equal(readinessProbe?.httpGet?.path, '/readyz');
          assert.equal(startupProbe?.httpGet?.path, '/startupz');
          const pauseSeconds = lifecycle?.preStop?.sleep?.seconds ?? 0;
          assert.ok(Number(data.SHUTDOWN_GRACE_MS) / 1_000 + pauseSeconds < terminationGracePeriodSeconds);
        }
      }
    });

    test('G10: GUEST_PARENT_PID is 1: guests end with the first process of their container', () => {
      const [{ env = [] } = {}] = containersOf(find(overlay, 'StatefulSet', 'compute'));
      assert.equal(env.find(({ name }) => name === 'GUEST_PARENT_PID')?.value, '1');
    });

    test('the services know every variable that is set', () => {
      const known = new Set(Object.keys(hostSpec).map(variableOf));
      for (const file of filesLike(/^services\/[a-z-]+\/src\/([a-z-]+\/)?(main|settings|guest-settings)\.ts$/))
        for (const [, name = ''] of textOf(file).matchAll(
          /^\s+([a-z][A-Za-z]+): (?:int|text|bool|oneOf|optional|secretFile|url|rate|burst|hostSpec)\b/gm,
        ))
          known.add(variableOf(name));
      const parts = new Set([
        'STORE_USER',
        'STORE_PASSWORD',
        'STORE_HOST',
        'POD_NAME',
        'POD_NAMESPACE',
        'NODE_COMPILE_CACHE',
      ]);
      const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
      const used = [
        ...Object.keys(data),
        ...own(overlay).flatMap((workload) =>
          containersOf(workload).flatMap(({ env = [] }) => env.map(({ name }) => name)),
        ),
      ];
      assert.deepEqual(
        [...new Set(used)].filter((name) => !known.has(name) && !parts.has(name)),
        [],
      );
      assert.ok(known.has('MASTER_KEY_FILE') && known.has('LEASE_TTL_MS'));
    });

    test('the connections of all replicas fit into Postgres, also during a rolling update', () => {
      const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
      const { storeConnections } = readConfig(data, { storeConnections: hostSpec.storeConnections });
      const scalers = objectsOf(overlay).filter(({ kind }) => /^(ScaledObject|HorizontalPodAutoscaler)$/.test(kind));
      const mostOf = ({ kind, metadata, spec }: KubernetesObject): number => {
        const scaler = scalers.find((one) => one.spec.scaleTargetRef?.name === metadata.name);
        const replicas = scaler?.spec.maxReplicaCount ?? scaler?.spec.maxReplicas ?? spec.replicas ?? 1;
        return replicas + (kind === 'Deployment' ? 1 : 0);
      };
      const processes = storing(overlay).reduce((sum, workload) => sum + mostOf(workload), 0);
      const most = isProduction(overlay)
        ? find(overlay, 'Cluster', 'interlock-postgres').spec.postgresql?.parameters?.max_connections
        : /max_connections=(\d+)/.exec(
            containersOf(find(overlay, 'StatefulSet', 'postgres'))[0]?.args?.join(' ') ?? '',
          )?.[1];
      // One more than the pool for each process, and 20 for operators, backups and users.
      const wanted = processes * (storeConnections + 1) + 20;
      assert.ok(wanted <= Number(most), `${processes} processes want ${wanted} of ${most} connections`);
    });

    test('no connection is possible without a network policy that allows it', () => {
      const policies = objectsOf(overlay).filter(({ kind }) => kind === 'NetworkPolicy');
      const deny = policies.find(({ metadata }) => metadata.name === 'deny-by-default');
      assert.deepEqual(deny?.spec.podSelector, {});
      assert.deepEqual(deny?.spec.policyTypes, ['Ingress', 'Egress']);
      assert.equal(deny?.spec.ingress, undefined);
      assert.equal(deny?.spec.egress, undefined);
      for (const workload of workloadsIn(objectsOf(overlay))) {
        const { labels } = workload.spec.template.metadata;
        const named = policies.filter(({ metadata, spec }) => {
          return !['deny-by-default', 'names'].includes(metadata.name) && selects(spec.podSelector, labels);
        });
        assert.ok(named.length > 0, `${workload.metadata.name} has a policy of its own`);
      }
      for (const { metadata, spec } of policies)
        for (const { from } of spec.ingress ?? [])
          assert.ok((from ?? []).length > 0, `${metadata.name} lets anybody in`);
    });
  });
}

for (const overlay of ['local', 'chaos'] as const)
  test(`${overlay}: deleting the namespace deletes everything, and no page deletes an overlay in another way`, () => {
    // Namespace is the only kind of these overlays that is not namespaced.
    const kinds = new Set(objectsOf(overlay).map(({ kind }) => kind));
    const clusterScoped = ['Namespace', 'ClusterRole', 'ClusterRoleBinding', 'PersistentVolume', 'StorageClass'];
    assert.deepEqual(
      [...kinds].filter((kind) => clusterScoped.includes(kind)),
      ['Namespace'],
    );
    for (const file of filesLike(/^(README|docs\/.*|deploy\/.*)\.(md|ts|yaml)$/))
      assert.doesNotMatch(textOf(file), /kubectl delete (-k|--kustomize)/, `${file}: fails once Job setup is deleted`);
    assert.match(textOf('docs/how-to/deploy-on-kubernetes.md'), /`kubectl delete namespace interlock --wait`/);
  });

for (const overlay of overlays.filter(isProduction)) {
  describe(`${overlay}, as a platform runs it`, () => {
    test('services have at least three replicas over zones and nodes, one may be evicted at a time, and load adds more', () => {
      for (const name of ['identity', 'key-vault', 'disk-encryption-set', 'gateway']) {
        const spread = find(overlay, 'Deployment', name).spec.template.spec.topologySpreadConstraints ?? [];
        assert.deepEqual(
          spread.map(({ topologyKey }) => topologyKey),
          ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'],
        );
        assert.equal(find(overlay, 'PodDisruptionBudget', name).spec.maxUnavailable, 1);
        assert.ok(Number(find(overlay, 'ScaledObject', name).spec.minReplicaCount) >= 3);
        assert.equal(find(overlay, 'Deployment', name).spec.replicas, undefined, 'its autoscaler says how many');
      }
      for (const { metadata, spec } of workloadsIn(objectsOf(overlay)))
        for (const { nodeTaintsPolicy } of spec.template.spec.topologySpreadConstraints ?? [])
          assert.equal(
            nodeTaintsPolicy,
            'Honor',
            `${metadata.name}: a node that takes none of its pods counts as empty`,
          );
      assert.equal(find(overlay, 'StatefulSet', 'nats').spec.replicas, 3);
      assert.deepEqual(find(overlay, 'PersistentVolumeClaim', 'key-vault-seal-keys').spec.accessModes, [
        'ReadWriteMany',
      ]);
    });

    test('each NATS server has an exporter, and a PodMonitor scrapes it', () => {
      const exporter = containersOf(find(overlay, 'StatefulSet', 'nats')).find(({ name }) => name === 'exporter');
      const [port] = exporter?.ports ?? [];
      assert.equal(port?.name, 'metrics');
      assert.ok(exporter?.args?.includes(`-port=${port?.containerPort}`));
      const monitor = find(overlay, 'PodMonitor', 'nats');
      assert.deepEqual(monitor.spec.podMetricsEndpoints, [{ port: 'metrics' }]);
    });

    test('a failover loses no commit, and NATS sets sync_interval and three copies', () => {
      const { instances, postgresql } = find(overlay, 'Cluster', 'interlock-postgres').spec;
      assert.equal(instances, 3);
      assert.deepEqual(postgresql?.synchronous, { method: 'any', number: 1, dataDurability: 'required' });
      assert.match(find(overlay, 'ConfigMap', 'nats-config').data?.['nats.conf'] ?? '', /sync_interval: \d+s/);
      assert.equal(find(overlay, 'ConfigMap', 'interlock-settings').data?.NATS_STREAM_REPLICAS, '3');
    });

    test('Postgres archives its log and backups to an object store, with credentials from a Secret', () => {
      const [plugin] = find(overlay, 'Cluster', 'interlock-postgres').spec.plugins ?? [];
      const store = find(overlay, 'ObjectStore', plugin?.parameters?.barmanObjectName ?? '');
      assert.equal(plugin?.isWALArchiver, true);
      const { cluster, pluginConfiguration, immediate } = find(overlay, 'ScheduledBackup', 'interlock-postgres').spec;
      assert.equal(cluster?.name, 'interlock-postgres');
      assert.equal(pluginConfiguration?.name, plugin?.name);
      assert.equal(immediate, true);
      assert.deepEqual(store.spec.configuration?.s3Credentials, {
        accessKeyId: { name: 'interlock-backups', key: 'ACCESS_KEY_ID' },
        secretAccessKey: { name: 'interlock-backups', key: 'ACCESS_SECRET_KEY' },
      });
    });
  });

  describe(`${overlay}, its keys and certificates`, () => {
    test('an update of NATS waits until a server has caught up, and finished Jobs are deleted', () => {
      const [nats] = containersOf(find(overlay, 'StatefulSet', 'nats'));
      assert.equal(nats?.startupProbe?.httpGet?.path, '/healthz');
      assert.ok(Number(find('local', 'Job', 'setup').spec.ttlSecondsAfterFinished) > 0);
    });

    test('every service has its own NATS key and trusts the right authority, and Postgres refuses connections without TLS', () => {
      const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
      const files = { DATABASE_CA_FILE: 'postgres-authority', NATS_SEED_FILE: 'nats-user', NATS_CA_FILE: 'tls' };
      for (const workload of storing(overlay)) {
        const name = serviceOf(workload.metadata.name);
        const [{ volumeMounts = [] } = {}] = containersOf(workload);
        const isService = serviceNames.some((service) => service === name);
        for (const [variable, volume] of Object.entries(files)) {
          if (variable === 'NATS_SEED_FILE' && !isService) continue;
          const mounted = volumeMounts.find(({ mountPath }) => data[variable]?.startsWith(`${mountPath}/`));
          assert.equal(mounted?.name, volume, `${name}: ${variable}`);
        }
        const volumes = new Map(
          (workload.spec.template.spec.volumes ?? []).map((volume) => [volume.name, volume.secret]),
        );
        assert.equal(
          volumes.get('nats-user')?.secretName,
          isService ? secretNames.nats(name as ServiceName) : undefined,
        );
        // Without the key of the authority, which the Secret has too.
        assert.deepEqual(volumes.get('postgres-authority')?.items, [{ key: 'ca.crt', path: 'ca.crt' }]);
      }
      const [nats] = containersOf(find(overlay, 'StatefulSet', 'nats'));
      for (const user of natsUsers) {
        const variable = nats?.env?.find(({ name }) => name === nkeyVariableOf(user));
        assert.deepEqual(variable?.valueFrom?.secretKeyRef, { name: secretNames.nats(user), key: 'public' });
      }
      const { dnsNames = [] } = find(overlay, 'Certificate', 'nats').spec;
      for (const url of (data.NATS_URL ?? '').split(',')) assert.ok(dnsNames.includes(new URL(url).hostname), url);
      const { postgresql } = find(overlay, 'Cluster', 'interlock-postgres').spec;
      assert.deepEqual(postgresql?.pg_hba, [
        'hostnossl all all all reject',
        'hostssl sameuser /^interlock_ all scram-sha-256',
        'hostssl all /^interlock_ all reject',
      ]);
      // A namespace would be part of subject and stream names.
      assert.equal(data.NATS_NAMESPACE, undefined);
      assert.equal(readConfig(data, { partitionCount: hostSpec.partitionCount }).partitionCount, 4);
    });

    test('every service has a certificate with all its names, for both ends of a call', () => {
      for (const name of storeOwners) {
        const { dnsNames = [], usages = [], secretName } = find(overlay, 'Certificate', name).spec;
        assert.equal(secretName, secretNames.tls(name));
        for (const dns of [name, `${name}.interlock.svc`, 'localhost'])
          assert.ok(dnsNames.includes(dns), `${name}: ${dns}`);
        assert.ok(usages.includes('server auth') && usages.includes('client auth'));
      }
      assert.ok(find(overlay, 'Certificate', 'disk').spec.dnsNames?.includes('*.disk.interlock.svc'));
      assert.ok(find(overlay, 'Certificate', 'gateway').spec.dnsNames?.includes('*.vault.interlock.localhost'));
      assert.equal(find(overlay, 'Certificate', 'client').spec.secretName, secretNames.clientTls);
    });
  });
}

test('KV-100: production limits the rate of key uses for each principal and vault', () => {
  for (const overlay of overlays.filter(isProduction)) {
    const { data = {} } = find(overlay, 'ConfigMap', 'interlock-settings');
    for (const name of ['RATE_LIMIT_PRINCIPAL_PER_SECOND', 'RATE_LIMIT_VAULT_PER_SECOND']) {
      assert.ok(Number(data[name]) > 0, `${overlay}: ${name} is ${data[name]}`);
    }
  }
});

test('the command of the upgrade page finds every Secret that must exist before production is applied', () => {
  const page = textOf('docs/how-to/deploy-on-kubernetes.md');
  const upgrade = page.slice(page.indexOf('\n## Upgrade'), page.indexOf('\n### Replace the authority'));
  const [, pattern = ''] = /grep -hoE '([^']+)'/.exec(upgrade) ?? [];
  const found = [...JSON.stringify(objectsOf('production')).matchAll(new RegExp(pattern, 'g'))].map(([name]) => name);
  // Nothing that is applied mounts the administrator's Secret. The superuser's Secret is for the local Postgres.
  const notMounted: readonly string[] = [secretNames.administrator, secretNames.postgres];
  const wanted = namesNeeded(true).filter((name) => !notMounted.includes(name));
  assert.deepEqual([...new Set(found)].sort(), [...wanted, 'interlock-backups'].sort());
});

describe('example', () => {
  test('fetches exactly the Secrets that production expects', () => {
    const wanted = namesNeeded(true).filter((name) => name !== secretNames.postgres);
    const { configuration } = find('example', 'ObjectStore', 'interlock-backups').spec;
    const backups = configuration?.s3Credentials as { readonly accessKeyId: { readonly name: string } };
    const names = objectsOf('example').flatMap(({ kind, metadata }) =>
      kind === 'ExternalSecret' ? metadata.name : [],
    );
    assert.deepEqual(names.sort(), [...wanted, backups.accessKeyId.name].sort());
  });

  test('replaces every placeholder of production', () => {
    const text = JSON.stringify(objectsOf('example'));
    for (const placeholder of ['example.com', 'interlock-shared', 's3://interlock-backups', '.observability.svc'])
      assert.ok(!text.includes(placeholder), placeholder);
    const images = [
      ...workloadsIn(objectsOf('example')).flatMap((workload) => containersOf(workload).map(({ image }) => image)),
      find('example', 'Cluster', 'interlock-postgres').spec.imageName ?? '',
    ];
    assert.ok(images.length >= 11);
    for (const image of images) assert.match(image, /^registry\.platform\.example\/.*@sha256:[0-9a-f]{64}$/);
    for (const { kind, metadata, spec } of workloadsIn(objectsOf('example')))
      if (kind !== 'Job') assert.match(spec.template.spec.priorityClassName ?? '', /^platform-/, metadata.name);
    const volumes = workloadsIn(objectsOf('example')).flatMap(({ spec }) => spec.volumeClaimTemplates ?? []);
    assert.equal(volumes.length, 3);
    for (const claim of [...volumes, find('example', 'PersistentVolumeClaim', 'key-vault-seal-keys')])
      assert.notEqual(claim.spec.storageClassName, undefined);
    for (const { alert, annotations } of find('example', 'PrometheusRule', 'interlock').spec.groups?.[0]?.rules ?? [])
      assert.equal(
        annotations.runbook_url,
        `https://runbooks.platform.example/interlock/operations.md#${alert.toLowerCase()}`,
      );
  });

  test("a gateway passes TLS through to each service, under a name that is in the service's certificate", () => {
    const [listener] = find('example', 'Gateway', 'interlock').spec.listeners ?? [];
    assert.equal(listener?.tls?.mode, 'Passthrough');
    for (const name of serviceNames) {
      const { hostnames = [], rules = [], parentRefs = [] } = find('example', 'TLSRoute', name).spec;
      assert.deepEqual(parentRefs, [{ name: 'interlock' }]);
      const { ports = [] } = find('example', 'Service', name).spec;
      assert.deepEqual(rules, [{ backendRefs: [{ name, port: ports[0]?.port }] }]);
      const { dnsNames = [] } = find('example', 'Certificate', name).spec;
      for (const host of hostnames) {
        const wildcard = host.replace(/^[^.]+/, '*');
        assert.equal(listener?.hostname, wildcard);
        assert.ok(dnsNames.includes(wildcard), `${name}: its certificate lacks ${wildcard}`);
      }
    }
  });

  test('Azure clients reach the gateway and its vaults under names that are in its certificate', () => {
    const { data = {} } = find('example', 'ConfigMap', 'interlock-settings');
    const url = new URL(data.GATEWAY_URL ?? '');
    const vaults = `*.${data.GATEWAY_VAULT_SUFFIX}`;
    const { hostnames, rules } = find('example', 'TLSRoute', 'gateway').spec;
    assert.deepEqual(hostnames, [url.host, vaults]);
    const [port] = find('example', 'Service', 'gateway').spec.ports ?? [];
    assert.deepEqual(rules, [{ backendRefs: [{ name: 'gateway', port: port?.port }] }]);
    const { dnsNames = [] } = find('example', 'Certificate', 'gateway').spec;
    for (const name of [url.hostname.replace(/^[^.]+/, '*'), vaults]) assert.ok(dnsNames.includes(name), name);
  });

  test('keeps every object of production, and adds only ExternalSecrets, a Gateway and TLSRoutes', () => {
    const names = (overlay: Overlay) =>
      objectsOf(overlay)
        .filter(({ kind }) => !['ExternalSecret', 'Gateway', 'TLSRoute'].includes(kind))
        .map((object) => `${object.kind} ${plainName(object)}`);
    assert.deepEqual(names('example').sort(), names('production').sort());
  });
});

test('API servers accept the files of jobs and of LitmusChaos, and their pods are restricted', async () => {
  const files = filesLike(/^deploy\/kubernetes\/(jobs|experiments\/litmus)\/.*\.yaml$/);
  assert.ok(files.length >= 2);
  const problems: string[] = [];
  for (const file of files)
    for (const object of objectsIn(textOf(file))) {
      for (const problem of await problemsOf(object)) problems.push(`${file}: ${problem}`);
      if (object.kind !== 'Job') continue;
      problems.push(...podProblems(object).map((problem) => `${file}: ${problem}`));
      problems.push(...restrictedProblems(object.spec.template.spec).map((control) => `${file}: ${control}`));
    }
  assert.deepEqual(problems, []);
});

test('G10: every pod with the volume of a host runs beside it: a volume that one node mounts is on no other node', () => {
  const jobs = objectsIn(textOf('deploy/kubernetes/jobs/rehearsal.yaml'));
  const mounted = [...jobs, ...overlays.flatMap((overlay) => workloadsIn(objectsOf(overlay)))].flatMap((workload) =>
    (workload.spec.template.spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) => {
      const [, host] = /^data-(disk|compute)-\d+$/.exec(persistentVolumeClaim?.claimName ?? '') ?? [];
      return host === undefined ? [] : [{ workload, host }];
    }),
  );
  assert.deepEqual(mounted.map(({ host }) => host).sort(), ['compute', 'disk']);
  for (const { workload, host } of mounted) {
    const { affinity, volumes = [], containers } = workload.spec.template.spec;
    assert.deepEqual(affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution, [
      { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { 'app.kubernetes.io/name': host } } },
    ]);
    // Two claims would need two hosts on one node.
    assert.equal(volumes.filter(({ persistentVolumeClaim }) => persistentVolumeClaim).length, 1);
    const [mount] = containers.flatMap(({ volumeMounts = [] }) => volumeMounts.filter(({ name }) => name === 'data'));
    assert.equal((mount as { readonly readOnly?: boolean } | undefined)?.readOnly, true);
  }
  const [rehearsal] = jobs;
  const addresses = containersOf(rehearsal ?? assert.fail())[0]?.env?.filter(({ name }) =>
    name.startsWith('FILES_OF_'),
  );
  for (const { name, value } of addresses ?? assert.fail()) {
    const { hostname, subdomain, containers } =
      jobs.find(({ spec }) => `FILES_OF_${spec.template.spec.hostname?.toUpperCase()}` === name)?.spec.template.spec ??
      assert.fail(name);
    assert.equal(value, `${hostname}.${subdomain}:${containers[0]?.ports?.[0]?.containerPort}`);
    for (const overlay of overlays) assert.ok(find(overlay, 'Service', subdomain ?? ''));
  }
});
