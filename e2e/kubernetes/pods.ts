import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { selects } from './references.ts';
import type { Container, KubernetesObject, Labels, PodSpec, Volume } from './render.ts';
import { variablesOf } from './variables.ts';

/**
 * Pods that podman can run, made from the manifests of a cluster. podman acts as kubelet and container runtime. What a
 * control plane adds is done here, and nothing else:
 *
 * - the pod of a Deployment, or one of those of a StatefulSet, with the claims of its templates;
 * - Secret volumes as a kubelet writes them for a pod with `fsGroup`: owned by root, readable by the group;
 * - the values of `$(NAME)` in variables, and the fields of the pod to which they refer;
 * - the names of a pod through the Services that select it.
 */
export interface RunnablePod {
  readonly name: string;
  /** Further DNS names. */
  readonly aliases: readonly string[];
  /** The input of `podman kube play`: the ConfigMaps and claims that the pod needs, then the pod. */
  readonly objects: readonly Manifest[];
}

/** An object as it is handed to podman. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: object; readonly annotations?: object };
}

/** What is needed to make pods. */
export interface Cluster {
  readonly objects: readonly KubernetesObject[];
  readonly secrets: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** Folder for the content of Secrets. */
  readonly folder: string;
  readonly namespace: string;
  /** Gives a file of root to a group. */
  readonly give: (file: string, group: number) => void;
}

/**
 * The pod of a workload, or of a Job.
 * @param ordinal of a pod of a StatefulSet: it has a name and claims of its own
 * @throws Error that names what the cluster lacks
 */
export const podOf = (workload: KubernetesObject, cluster: Cluster, ordinal = 0): RunnablePod => {
  const { name } = workload.metadata;
  const { template } = workload.spec;
  const isStateful = workload.kind === 'StatefulSet';
  const podName = isStateful ? `${name}-${ordinal}` : name;
  const { fsGroup, runAsGroup, runAsUser = 0 } = template.spec.securityContext ?? {};
  const group = fsGroup ?? runAsGroup ?? 0;
  const claims = isStateful ? (workload.spec.volumeClaimTemplates ?? []) : [];
  const volumes: readonly Volume[] = [
    // podman's own volume would belong to root; a kubelet's is writable for the group.
    ...(template.spec.volumes ?? []).map((volume) =>
      volume.emptyDir === undefined
        ? volume
        : { name: volume.name, persistentVolumeClaim: { claimName: `empty-${volume.name}-${podName}` } },
    ),
    ...claims.map((claim) => ({
      name: claim.metadata.name,
      persistentVolumeClaim: { claimName: `${claim.metadata.name}-${podName}` },
    })),
  ];
  const claimNames = volumes.flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? []);
  const configMaps = new Set(volumes.flatMap(({ configMap }) => configMap?.name ?? []));
  const pod: Manifest & { readonly spec: object } = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName, labels: template.metadata.labels },
    spec: {
      ...withoutCluster(template.spec),
      restartPolicy: 'Never',
      volumes: volumes.map((volume) => (volume.secret === undefined ? volume : laidOut(volume, group, cluster))),
      // Sidecars that only measure need images that are not here.
      containers: template.spec.containers
        .filter(({ name }) => name !== 'exporter')
        .map((container) => ({
          ...withoutProbes(container),
          // podman makes it a name of the pod in DNS, and several workloads have containers of one name.
          name: podName,
          // The scheduler uses requests to find a node. podman would reserve them on this machine.
          resources: { limits: container.resources?.limits ?? {} },
          env: environmentOf(container, { podName, cluster }),
        })),
    },
  };
  return {
    name: podName,
    aliases: aliasesOf(workload, cluster, podName),
    objects: [
      ...[...configMaps].map((map) => find(cluster, 'ConfigMap', map)),
      ...claimNames.map((claim) => claimOf(claim, group, runAsUser)),
      pod,
    ],
  };
};

/** The names under which DNS finds a pod: those of the Services that select it, and its own below the Service of its StatefulSet. */
const aliasesOf = (
  { kind, spec: { template, serviceName } }: KubernetesObject,
  { objects, namespace }: Cluster,
  podName: string,
): readonly string[] => {
  const { hostname, subdomain } = template.spec;
  const services = objects.filter(
    (object) =>
      object.kind === 'Service' &&
      object.spec.selector !== undefined &&
      selects({ matchLabels: object.spec.selector as Labels }, template.metadata.labels),
  );
  const names = services.flatMap(({ metadata: { name } }) => [
    name,
    ...(kind === 'StatefulSet' && name === serviceName ? [`${podName}.${name}`] : []),
  ]);
  return [
    ...names.flatMap((name) => [name, `${name}.${namespace}.svc`]),
    ...(hostname === undefined ? [] : [`${hostname}.${subdomain}`]),
  ];
};

/** Removes what a scheduler or an API server uses, but not a kubelet. */
const withoutCluster = ({
  serviceAccountName: _account,
  topologySpreadConstraints: _spread,
  affinity: _affinity,
  hostname: _hostname,
  subdomain: _subdomain,
  ...spec
}: PodSpec) => spec;

/** podman runs probes through systemd, which a test host may not have; run.ts calls them from outside. */
const withoutProbes = ({
  startupProbe: _startup,
  livenessProbe: _live,
  readinessProbe: _ready,
  lifecycle: _lifecycle,
  // podman prefers it to variables of the container; a kubelet does not (`environmentOf`).
  envFrom: _envFrom,
  ...container
}: Container) => container;

const find = ({ objects }: Cluster, kind: string, name: string): KubernetesObject => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`the overlay has no ${kind} ${name}`);
  return found;
};

const secretOf = ({ secrets }: Cluster, name: string): Readonly<Record<string, string>> => {
  const found = secrets.get(name);
  if (found === undefined) throw new Error(`the cluster has no Secret ${name}`);
  return found;
};

const secretValue = (cluster: Cluster, { name, key }: { readonly name: string; readonly key: string }): string => {
  const value = secretOf(cluster, name)[key];
  if (value === undefined) throw new Error(`Secret ${name} has no ${key}`);
  return Buffer.from(value, 'base64').toString();
};

/** A Secret volume as files on the host, owned by root and readable for the pod's group. */
const laidOut = ({ name, secret }: Volume, group: number, cluster: Cluster): Readonly<Record<string, unknown>> => {
  const { secretName = '', defaultMode = 0o644 } = secret ?? {};
  const path = join(cluster.folder, `${secretName}-${group}`);
  mkdirSync(path, { recursive: true });
  for (const [key, value] of Object.entries(secretOf(cluster, secretName))) {
    const file = join(path, key);
    writeFileSync(file, Buffer.from(value, 'base64'));
    cluster.give(file, group);
    chmodSync(file, defaultMode);
  }
  return { name, hostPath: { path, type: 'Directory' } };
};

/** A claim whose volume belongs to the pod's user and group, as `fsGroup` does in a cluster. */
const claimOf = (name: string, group: number, user: number): Manifest & { readonly spec: object } => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: {
    name,
    annotations: { 'volume.podman.io/uid': String(user), 'volume.podman.io/gid': String(group) },
  },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
});

/** The variables of a container with their values: those of its ConfigMaps, and over them its own. */
const environmentOf = (
  { env = [], envFrom = [] }: Container,
  { podName, cluster }: { readonly podName: string; readonly cluster: Cluster },
): readonly { readonly name: string; readonly value: string }[] => {
  const shared = Object.assign(
    {},
    ...envFrom.map(({ configMapRef }) => find(cluster, 'ConfigMap', configMapRef.name).data),
  );
  const own = variablesOf(env, {
    fields: { 'metadata.name': podName, 'metadata.namespace': cluster.namespace },
    secret: (reference) => secretValue(cluster, reference),
    setting: ({ name, key }) => find(cluster, 'ConfigMap', name).data?.[key],
  });
  return Object.entries<string>({ ...shared, ...own }).map(([name, value]) => ({ name, value }));
};
