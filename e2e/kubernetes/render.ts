import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { parseAllDocuments } from 'yaml';
import { runProgram } from '../../deploy/images/builder.ts';

/** Name and value of labels, or of annotations. */
export type Labels = Readonly<Record<string, string>>;

/** An object of Kubernetes, with the fields that are used here. schemas.ts checks all of it. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly generateName?: string;
    readonly namespace?: string;
    readonly labels?: Labels;
    readonly annotations?: Labels;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: Spec;
}

/** `spec` of the kinds here. */
export interface Spec {
  readonly template: PodTemplate;
  readonly replicas?: number;
  readonly selector?: Labels & { readonly matchLabels?: Labels };
  readonly serviceName?: string;
  readonly publishNotReadyAddresses?: boolean;
  readonly podMetricsEndpoints?: readonly { readonly port?: string; readonly portNumber?: number }[];
  readonly volumeClaimTemplates?: readonly KubernetesObject[];
  readonly ports?: readonly ServicePort[];
  readonly podSelector?: PodSelector;
  readonly policyTypes?: readonly string[];
  readonly ingress?: readonly { readonly from?: readonly Peer[]; readonly ports?: readonly PolicyPort[] }[];
  readonly egress?: readonly { readonly to?: readonly Peer[]; readonly ports?: readonly PolicyPort[] }[];
  readonly scaleTargetRef?: { readonly kind: string; readonly name: string };
  readonly minReplicas?: number;
  readonly maxReplicas?: number;
  readonly metrics?: readonly { readonly resource?: { readonly target: { readonly averageValue?: string } } }[];
  readonly strategy?: { readonly type: string };
  readonly updateStrategy?: { readonly type: string };
  readonly podManagementPolicy?: string;
  readonly minReplicaCount?: number;
  readonly maxReplicaCount?: number;
  readonly maxUnavailable?: number;
  readonly persistentVolumeClaimRetentionPolicy?: Labels;
  readonly secretName?: string;
  readonly dnsNames?: readonly string[];
  readonly usages?: readonly string[];
  readonly instances?: number;
  readonly imageName?: string;
  readonly postgresql?: {
    readonly synchronous?: { readonly number: number; readonly dataDurability?: string };
    readonly parameters?: Labels;
    readonly pg_hba?: readonly string[];
  };
  readonly plugins?: readonly {
    readonly name: string;
    readonly isWALArchiver?: boolean;
    readonly parameters?: Labels;
  }[];
  readonly cluster?: { readonly name: string };
  readonly pluginConfiguration?: { readonly name: string };
  readonly immediate?: boolean;
  readonly configuration?: { readonly s3Credentials?: object };
  readonly ttlSecondsAfterFinished?: number;
  readonly accessModes?: readonly string[];
  readonly storageClassName?: string;
  readonly target?: { readonly name: string };
  readonly groups?: readonly { readonly rules: readonly AlertRule[] }[];
  readonly triggers?: readonly { readonly type: string; readonly metadata: Labels }[];
  readonly listeners?: readonly { readonly hostname?: string; readonly tls?: { readonly mode?: string } }[];
  readonly hostnames?: readonly string[];
  readonly parentRefs?: readonly { readonly name: string }[];
  readonly rules?: readonly { readonly backendRefs?: readonly { readonly name: string; readonly port: number }[] }[];
  readonly entry?: string;
  readonly templates?: readonly WorkflowTemplate[];
}

/** A port of a Service. */
export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly targetPort: string | number;
  readonly appProtocol?: string;
}

/** Selects pods by labels and their allowed values. */
export interface PodSelector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** The other end of an allowed connection. */
export interface Peer {
  readonly podSelector?: PodSelector;
  readonly namespaceSelector?: PodSelector;
}

/** A port a policy opens. */
export interface PolicyPort {
  readonly protocol: string;
  readonly port: number;
}

/** A rule of Prometheus. */
export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Labels;
}

/** A step of a Workflow of Chaos Mesh. */
export interface WorkflowTemplate {
  readonly name: string;
  readonly templateType: string;
  readonly children?: readonly string[];
  readonly conditionalBranches?: readonly { readonly target: string }[];
  readonly task?: { readonly container: Container; readonly volumes?: readonly Volume[] };
}

/** What pods are made of. */
export interface PodTemplate {
  readonly metadata: { readonly labels: Labels };
  readonly spec: PodSpec;
}

/** A pod. */
export interface PodSpec {
  readonly containers: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly securityContext?: Readonly<Record<string, unknown>> & {
    readonly runAsUser?: number;
    readonly runAsGroup?: number;
    readonly fsGroup?: number;
  };
  readonly priorityClassName?: string;
  readonly hostname?: string;
  readonly subdomain?: string;
  readonly affinity?: {
    readonly podAffinity?: {
      readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly {
        readonly topologyKey: string;
        readonly labelSelector: PodSelector;
      }[];
    };
  };
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly topologySpreadConstraints?: readonly {
    readonly topologyKey: string;
    readonly maxSkew: number;
    readonly whenUnsatisfiable: string;
    readonly nodeTaintsPolicy?: string;
  }[];
}

/** A container of a pod. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy?: string;
  readonly args?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: readonly Variable[];
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels };
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } };
}

/** How a kubelet probes a container. Times are in seconds. */
export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
  readonly exec?: { readonly command: readonly string[] };
  readonly periodSeconds?: number;
  readonly failureThreshold?: number;
  readonly timeoutSeconds?: number;
  readonly terminationGracePeriodSeconds?: number;
}

/** A variable of a container, or the source of its value. */
export interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
    readonly fieldRef?: { readonly fieldPath: string };
  };
}

/** A volume of a pod. */
export interface Volume {
  readonly name: string;
  readonly secret?: {
    readonly secretName: string;
    readonly defaultMode?: number;
    readonly items?: readonly { readonly key: string; readonly path: string }[];
  };
  readonly configMap?: { readonly name: string };
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean };
  readonly emptyDir?: object;
}

/** All overlays. */
export const overlays = ['local', 'local-hosts', 'production', 'production-hosts', 'chaos', 'example'] as const;

export type Overlay = (typeof overlays)[number];

/** Whether an overlay has several hosts of disks and of guests, by the components `disk-hosts` and `vm-hosts`. */
export const hasHosts = (overlay: Overlay): boolean => overlay.endsWith('-hosts');

/** Whether an overlay is for production: the production overlay, or one that uses it. */
export const isProduction = (overlay: Overlay): boolean => overlay.startsWith('production') || overlay === 'example';

/** Whether `kubectl` is installed. */
export const hasKubectl = (): boolean =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'kubectl')));

type Folder = Overlay | 'kubernetes/base' | 'helm/disk-hosts' | 'helm/vm-hosts';

/** What was rendered in this process: several test files read every overlay, and one costs half a second of a processor. */
const rendered = new Map<Folder, Promise<readonly KubernetesObject[]>>();

/**
 * Every object of an overlay, or of another folder of `deploy`, as `kubectl kustomize` renders it. Each call returns its own copy.
 * @throws LauncherError with kubectl's message
 */
export const render = async (of: Folder): Promise<readonly KubernetesObject[]> => {
  const objects = rendered.get(of) ?? kustomize(of);
  rendered.set(of, objects);
  return structuredClone(await objects);
};

/** The objects of every overlay. @throws LauncherError like `render` */
export const renderOverlays = async (): Promise<ReadonlyMap<Overlay, readonly KubernetesObject[]>> => {
  const all = new Map<Overlay, readonly KubernetesObject[]>();
  for (const overlay of overlays) all.set(overlay, await render(overlay));
  return all;
};

const kustomize = async (of: Folder): Promise<readonly KubernetesObject[]> => {
  if (!hasKubectl()) {
    throw new LauncherError(
      'kubectl is not on the PATH, and renders the manifests: apt-get install kubernetes-client.',
    );
  }
  const folder = join(repository, 'deploy', of.includes('/') ? of : `kubernetes/overlays/${of}`);
  return objectsIn(await runProgram('kubectl', ['kustomize', folder], process.env));
};

/** The name of an object in its manifest: kustomize ends the name of a Job with a digest of its content. */
export const plainName = ({ kind, metadata }: KubernetesObject): string =>
  kind === 'Job' ? metadata.name.replace(/-[a-z0-9]{10}$/, '') : metadata.name;

/** The objects of a YAML text. @throws Error for text that is not YAML, or defines a key twice */
export const objectsIn = (text: string): readonly KubernetesObject[] =>
  parseAllDocuments(text, { uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    const value: KubernetesObject | null = document.toJS();
    return value === null ? [] : [value];
  });
