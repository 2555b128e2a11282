import { createHash } from 'node:crypto';
import type { KubernetesObject } from './render.ts';

/** JSON, as fields of an object have it. */
type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Fields = { readonly [key: string]: Json };

/** The fields of one object that an API server does not let a client change. */
export interface Frozen {
  /** With their values; a field with its default is left out, as if it were not set. */
  readonly fields: Fields;
  /** Whether the object is deleted by itself once its work is done: a Job with `ttlSecondsAfterFinished`. */
  readonly deletesItself?: true;
}

/** The immutable fields of all objects of a version: by kind and name, such as `StatefulSet disk`. */
export type FrozenObjects = Readonly<Record<string, Frozen>>;

/** Fields of a StatefulSet's spec that can be changed (Kubernetes 1.34, `ValidateStatefulSetUpdate`). All others cannot. */
const changeableOfStatefulSet = new Set([
  'minReadySeconds',
  'ordinals',
  'persistentVolumeClaimRetentionPolicy',
  'replicas',
  'revisionHistoryLimit',
  'template',
  'updateStrategy',
]);

const only = (from: Fields, names: readonly string[]): Fields =>
  Object.fromEntries(names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]])));
const without = (from: Fields, names: ReadonlySet<string>): Fields =>
  Object.fromEntries(Object.entries(from).filter(([name]) => !names.has(name)));
const digestOf = (value: Json | undefined): string =>
  createHash('sha256')
    .update(JSON.stringify(sorted(value ?? null)))
    .digest('hex')
    .slice(0, 16);
const sorted = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([key, one]) => [key, sorted(one)]),
  );
};

/** What an API server refuses to change of a kind, from the object. Kinds that are missing here can be changed. */
const frozenOf: Readonly<Record<string, (object: { readonly spec: Fields; readonly top: Fields }) => Fields>> = {
  StatefulSet: ({ spec }) => {
    const { podManagementPolicy = 'OrderedReady', ...others } = without(spec, changeableOfStatefulSet);
    return { ...others, podManagementPolicy };
  },
  Deployment: ({ spec }) => only(spec, ['selector']),
  DaemonSet: ({ spec }) => only(spec, ['selector']),
  ReplicaSet: ({ spec }) => only(spec, ['selector']),
  // The template is long: its digest shows a change.
  Job: ({ spec }) => ({
    ...only(spec, ['selector', 'completions', 'completionMode', 'podFailurePolicy', 'successPolicy']),
    template: digestOf(spec.template),
  }),
  Service: ({ spec }) => ({
    ...only(spec, ['clusterIP', 'clusterIPs']),
    type: spec.type ?? 'ClusterIP',
  }),
  PersistentVolumeClaim: ({ spec }) => ({ ...without(spec, new Set(['resources'])), ...sizeOf(spec) }),
  PersistentVolume: ({ spec }) => without(spec, new Set(['accessModes', 'capacity', 'persistentVolumeReclaimPolicy'])),
  StorageClass: ({ top }) => only(top, ['provisioner', 'parameters', 'reclaimPolicy', 'volumeBindingMode']),
  PriorityClass: ({ top }) => only(top, ['value', 'preemptionPolicy']),
  RoleBinding: ({ top }) => only(top, ['roleRef']),
  ClusterRoleBinding: ({ top }) => only(top, ['roleRef']),
  ConfigMap: ({ top }) => (top.immutable === true ? { immutable: true, data: digestOf(top.data) } : {}),
  Secret: ({ top }) => (top.immutable === true ? { immutable: true, data: digestOf(top.data) } : {}),
  // CloudNativePG: a database keeps its name and its cluster.
  Database: ({ spec }) => only(spec, ['name', 'cluster']),
};

/** A claim may request more storage, where its class allows that, and never less. */
const sizeOf = ({ resources }: Fields): Fields => {
  const requests = (resources as { readonly requests?: Fields } | undefined)?.requests;
  return requests?.storage === undefined ? {} : { storage: requests.storage };
};

/** Names that kustomize and helm end with a digest of the content: another content is another object. */
const isNamedByContent = (key: string): boolean => /-[a-z0-9]{10}$/.test(key);

/** The immutable fields of rendered objects. The namespace of an object and its API group are among them. */
export const frozenIn = (objects: readonly KubernetesObject[]): FrozenObjects =>
  Object.fromEntries(
    objects.map((object): [string, Frozen] => {
      const top = object as unknown as Fields;
      const spec = (top.spec ?? {}) as Fields;
      const { kind, metadata, apiVersion } = object;
      const fields = {
        group: apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '',
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        ...frozenOf[kind]?.({ spec, top }),
      };
      const deletesItself = kind === 'Job' && spec.ttlSecondsAfterFinished !== undefined;
      return [`${kind} ${metadata.name}`, { fields, ...(deletesItself && { deletesItself }) }];
    }),
  );

/**
 * Why an API server refuses a version over the last one, or what it leaves behind; with what to do. Empty: `kubectl apply` and
 * `helm upgrade` succeed.
 */
export const upgradeProblems = (last: FrozenObjects, next: FrozenObjects): readonly string[] =>
  Object.entries(last).flatMap(([key, { fields, deletesItself }]) => {
    const now = next[key]?.fields;
    if (now === undefined) return deletesItself || isNamedByContent(key) ? [] : [removed(key)];
    return [...new Set([...Object.keys(fields), ...Object.keys(now)])]
      .filter((name) => JSON.stringify(sorted(fields[name] ?? null)) !== JSON.stringify(sorted(now[name] ?? null)))
      .map(
        (name) =>
          `${key}: ${name} is immutable, was ${JSON.stringify(fields[name])} and is ${JSON.stringify(now[name])}. ${wayOut(key)}`,
      );
  });

const removed = (key: string): string =>
  `${key}: is no longer rendered (removed or renamed), and kubectl apply leaves it in the cluster. Keep its name, or add its deletion to "Upgrade" in docs/how-to/deploy-on-kubernetes.md and to \`documentedRemovals\` in e2e/kubernetes/upgrade.test.ts.`;

const wayOut = (key: string): string => {
  const [kind = '', name = ''] = key.split(' ');
  const restore = 'Restore the earlier value';
  switch (kind) {
    case 'StatefulSet':
      return `${restore}, or document in "Upgrade" that operators first run \`kubectl --namespace interlock delete statefulset ${name} --cascade=orphan\`: pods and volumes stay, and the next apply adopts them.`;
    case 'Deployment':
    case 'DaemonSet':
    case 'ReplicaSet':
      return `${restore}: pods with other labels would run beside the new ones. If it must change, document \`kubectl delete ${kind.toLowerCase()} ${name}\` and the interruption.`;
    case 'Job':
      return 'Name the Job by its content: annotation internal.config.kubernetes.io/needsHashSuffix in kustomize, a digest of the values in the chart.';
    case 'PersistentVolumeClaim':
      return `${restore}: a claim that is deleted loses its data.`;
    default:
      return `${restore}, or give the object another name and document the deletion of ${key}.`;
  }
};
