import { LauncherError } from '../local/data-folder.ts';

/** Generated files of the chart: path in the chart → text. */
export type ChartFiles = ReadonlyMap<string, string>;

/** One object as `kubectl kustomize` prints it. */
interface RenderedObject {
  readonly kind: string;
  readonly name: string;
  readonly text: string;
}

const banner = `{{- /* Written by npm run chart from deploy/kubernetes/base. Do not edit. */ -}}\n`;

/**
 * The templates and `values.yaml` of the chart. The templates are the rendered base, with values for everything that an
 * installation may set. The defaults in `values.yaml` are from the base too. An object that a component changes has both
 * forms.
 * @param base what `kubectl kustomize deploy/kubernetes/base` prints
 * @param components the same with one component each
 * @param valuesTemplate `values.yaml` with the lines `# @@settings@@`, `# @@streams@@` and `# @@services@@` in place of the defaults
 * @throws LauncherError that names what is missing in the base
 */
export const chartFiles = (
  base: string,
  components: readonly RenderedComponent[],
  valuesTemplate: string,
): ChartFiles => {
  const objects = objectsIn(base);
  const find = (kind: string, name: string, list = objects): RenderedObject | undefined =>
    list.find((object) => object.kind === kind && object.name === name);
  const variants = components.map((component) => ({ ...component, objects: objectsIn(component.text) }));
  const workloads = objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  const services = workloads.map(({ name }) => name);
  const fileOf = ({ kind, name }: RenderedObject): string => {
    const service = services.find((one) => name === one || name.startsWith(`${one}-seal-`));
    if (name.startsWith('nats-')) return 'nats';
    return kind === 'NetworkPolicy' ? 'network-policies' : (service ?? 'settings');
  };
  const valuesOf = (file: string): string | undefined => {
    if (file === 'nats') return '.Values.nats.streams';
    return services.includes(file) ? `index .Values.services "${file}"` : undefined;
  };
  const files = new Map<string, string>();
  for (const file of new Set(objects.map(fileOf))) {
    const own = objects.filter((object) => fileOf(object) === file).map((object) => eitherTemplate(object, variants));
    const values = valuesOf(file);
    const start = values === undefined ? banner : `${banner}{{- $service := ${values} -}}\n`;
    files.set(`templates/${file}.yaml`, `${start}${own.join('---\n')}`);
  }
  for (const { name: component, enabled, service, objects: own } of variants) {
    const added = own.filter(({ kind, name }) => find(kind, name) === undefined).map(templateOf);
    const start = `{{- if ${enabled} }}\n{{- $service := index .Values.services "${service}" -}}\n`;
    files.set(`templates/${component}.yaml`, `${banner}${start}${added.join('---\n')}{{- end }}\n`);
  }
  const settings = required('ConfigMap', 'interlock-settings', find);
  const streams = required('Job', 'nats-streams', find);
  const values = valuesTemplate
    .replace('  # @@settings@@\n', indented(blockOf(settings.text, 'data:', settings.name), 2))
    .replace('    # @@streams@@\n', indented(workloadValues(streams, objects), 4))
    .replace(
      '  # @@services@@\n',
      indented(
        workloads.map((workload) => `${workload.name}:\n${indented(workloadValues(workload, objects), 2)}`).join(''),
        2,
      ),
    );
  files.set('values.yaml', values);
  return files;
};

/** The components that the chart has: the folder, the switch in the values, and the service whose image and values its pods have. */
export const chartComponents = [
  { name: 'disk-hosts', enabled: '.Values.diskHosts.enabled', service: 'disk' },
  { name: 'vm-hosts', enabled: '.Values.vmHosts.enabled', service: 'compute' },
] as const;

/** A component, and what `kubectl kustomize` prints for the base with it. */
export type RenderedComponent = (typeof chartComponents)[number] & { readonly text: string };

const required = (
  kind: string,
  name: string,
  find: (kind: string, name: string) => RenderedObject | undefined,
): RenderedObject => {
  const found = find(kind, name);
  if (found === undefined) throw new LauncherError(`The base has no ${kind} ${name}.`);
  return found;
};

/** An object with and without the component that changes it. kustomize gives a Job another name each time, so a Job is that of the base. */
const eitherTemplate = (
  object: RenderedObject,
  variants: readonly (RenderedComponent & { readonly objects: readonly RenderedObject[] })[],
): string => {
  const { kind, name } = object;
  const without = templateOf(object);
  if (kind === 'Job') return without;
  const changed = variants.flatMap(({ objects, enabled, name: component }) => {
    const other = objects.find((one) => one.kind === kind && one.name === name);
    if (other === undefined) throw new LauncherError(`With the component ${component} ${kind} ${name} is missing.`);
    return other.text === object.text ? [] : [{ other, enabled }];
  });
  const [variant] = changed;
  if (variant === undefined) return without;
  if (changed.length > 1)
    throw new LauncherError(`Two components change ${kind} ${name}: the chart has one form for each.`);
  return `{{- if ${variant.enabled} }}\n${templateOf(variant.other)}{{- else }}\n${without}{{- end }}\n`;
};

const objectsIn = (base: string): readonly RenderedObject[] =>
  base.split(/^---\n/m).map((text) => {
    const kind = /^kind: (\w+)$/m.exec(text)?.[1] ?? '';
    const name = /^metadata:\n(?: .*\n)*? {2}name: ([a-z0-9-]+)$/m.exec(text)?.[1] ?? '';
    return { kind, name: kind === 'Job' ? name.replace(digestOfJob, '') : name, text };
  });

/** kustomize ends the name of a Job with a digest of its content. */
const digestOfJob = /-[a-z0-9]{10}$/;

/** The lines below a line that are indented further than it, without their common indent. */
const blockOf = (text: string, line: string, of: string): string => {
  const lines = text.split('\n');
  const start = lines.findIndex((one) => one.trim() === line);
  if (start < 0) throw new LauncherError(`${of} has no line "${line}" in the rendered base.`);
  const indent = (one: string): number => one.length - one.trimStart().length;
  const inside = lines.slice(start + 1);
  const end = inside.findIndex((one) => indent(one) <= indent(lines[start] ?? ''));
  return inside
    .slice(0, end < 0 ? undefined : end)
    .map((one) => `${one.slice(indent(inside[0] ?? ''))}\n`)
    .join('');
};

const indented = (text: string, spaces: number): string => text.replace(/^(?=.)/gm, ' '.repeat(spaces));

/** Secrets an installation may name otherwise. */
const secretPattern = /interlock-(store|tls|workload|bootstrap|nats)[a-z-]*/g;

/** The values of a workload, with the defaults of the base. */
const workloadValues = ({ kind, name, text }: RenderedObject, objects: readonly RenderedObject[]): string => {
  const secrets = new Map([...text.matchAll(secretPattern)].map(([secret, key]) => [key, secret]));
  const claim = objects.find(
    (one) => one.kind === 'PersistentVolumeClaim' && text.includes(`claimName: ${one.name}\n`),
  );
  const size = /^ +storage: (\w+)$/m.exec(claim?.text ?? text)?.[1];
  const storage = [
    'storage:',
    `  size: ${size}`,
    '  className: ""',
    ...(claim === undefined ? [] : ['  accessModes:', '    - ReadWriteOnce', '  existingClaim: ""']),
  ];
  return [
    'digest: ""',
    ...(kind === 'Deployment' ? ['replicas: null'] : []),
    'resources:',
    indented(blockOf(text, 'resources:', name), 2).trimEnd(),
    'secrets:',
    ...[...secrets].map(([key, secret]) => `  ${key}: ${secret}`).sort(),
    ...(size === undefined ? [] : storage),
    'priorityClassName: ""',
    'podSpec: {}',
    'volumes: []',
    'volumeMounts: []',
    '',
  ].join('\n');
};

/** An object with values for everything that an installation may set. */
const templateOf = ({ kind, name, text }: RenderedObject): string => {
  const labelled = text
    .replaceAll(/(app\.kubernetes\.io\/instance): .*/g, '$1: {{ .Release.Name | quote }}')
    .replaceAll(/(app\.kubernetes\.io\/managed-by): .*/g, '$1: {{ .Release.Service | quote }}')
    .replaceAll(/(app\.kubernetes\.io\/version): .*/g, '$1: {{ .Chart.AppVersion | quote }}');
  switch (kind) {
    case 'ConfigMap':
      return configTemplate(name, labelled);
    case 'NetworkPolicy':
      return policyTemplate(name, labelled);
    case 'PodDisruptionBudget':
      return name === 'disk-host'
        ? replaced(name, labelled, /^( {2}maxUnavailable: )1$/m, '$1{{ .Values.diskHosts.maxUnavailable }}')
        : labelled;
    case 'PersistentVolumeClaim':
      return claimTemplate(labelled);
    case 'Deployment':
    case 'StatefulSet':
    case 'Job':
      return workloadTemplate(name, labelled);
    default:
      return labelled;
  }
};

/** The settings are values. The NATS configuration is the base's, and an installation adds to it. */
const configTemplate = (name: string, text: string): string => {
  const data = /^data:\n(?: .*\n)+/m;
  if (name === 'interlock-settings')
    return replaced(name, text, data, 'data: {{- include "interlock.settings" . | nindent 2 }}\n');
  const added = '  {{- with .Values.nats.conf }}\n  nats.conf: {{- toYaml . | nindent 4 }}\n  {{- end }}\n';
  return replaced(name, text, data, `$&${added}`);
};

/** Where an installation adds connections: those of the Job to NATS, and those of VM hosts to a collector. */
const addedEgress: Readonly<Record<string, string>> = {
  'nats-streams': '.Values.nats.egress',
  'vm-hosts': '.Values.vmHosts.egress',
};

/** A policy, with what an installation adds. */
const policyTemplate = (name: string, text: string): string => {
  const values = addedEgress[name];
  return values === undefined
    ? text
    : replaced(name, text, /^ {2}egress:\n(?: {2}[- ].*\n)+/m, `$&${listTemplate(values, 2)}`);
};

/** A list of the values, at the end of a list of the base. */
const listTemplate = (values: string, spaces: number): string => {
  const start = ' '.repeat(spaces);
  return `${start}{{- with ${values} }}\n${start}{{- toYaml . | nindent ${spaces} }}\n${start}{{- end }}\n`;
};

/** @throws LauncherError if the rendered base does not match the pattern */
const replaced = (name: string, from: string, pattern: RegExp, to: string): string => {
  if (!pattern.test(from)) throw new LauncherError(`${name} has nothing like ${pattern.source} in the rendered base.`);
  return from.replace(pattern, to);
};

/** Helm keeps the claim when the release is uninstalled: without seal keys every key is lost. */
const claimTemplate = (text: string): string => {
  const claim = text
    .replace('metadata:\n', 'metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n')
    .replace(
      /^ {2}accessModes:\n(?: {2}- .*\n)+/m,
      '  accessModes: {{- toYaml $service.storage.accessModes | nindent 2 }}\n',
    );
  return `{{- if not $service.storage.existingClaim }}\n${withStorage(claim)}{{- end }}\n`;
};

const withStorage = (text: string): string =>
  text.replace(
    /^( *)(resources:\n +requests:\n +storage: )\w+\n/m,
    '$1$2{{ $service.storage.size }}\n$1{{- with $service.storage.className }}\n$1storageClassName: {{ . }}\n$1{{- end }}\n',
  );

const workloadTemplate = (name: string, text: string): string => {
  let result = text;
  const replace = (pattern: RegExp, to: string): void => {
    result = replaced(name, result, pattern, to);
  };
  // A Job cannot be changed: what the values change, the name shows. kustomize's digest stands for the rest of the template.
  if (result.includes('kind: Job'))
    replace(
      /^( {2}name: [a-z-]+)-([a-z0-9]{10})$/m,
      '$1-{{ list "$2" .Release.Name .Release.Service .Chart.AppVersion .Values.image $service | toJson | sha256sum | trunc 10 }}',
    );
  replace(/^( +image: )\S+\/([a-z-]+):\S+$/m, '$1{{ include "interlock.image" (list . "$2" $service.digest) }}');
  replace(/^( +imagePullPolicy: ).*$/m, '$1{{ .Values.image.pullPolicy }}');
  const isControl = name.endsWith('-control');
  // Those of `services.disk` and `services.compute` are for their hosts.
  if (!isControl) replace(/^( {8}resources:)\n(?: {9,}.*\n)+/m, '$1 {{- toYaml $service.resources | nindent 10 }}\n');
  replace(/^ {8}volumeMounts:\n(?: {8}[- ].*\n)+/m, `$&${listTemplate('$service.volumeMounts', 8)}`);
  replace(
    /^(?= {6}enableServiceLinks: )/m,
    `${listTemplate('$service.podSpec', 6)}      {{- with $service.priorityClassName }}\n      priorityClassName: {{ . }}\n      {{- end }}\n      {{- with .Values.image.pullSecrets }}\n      imagePullSecrets: {{- toYaml . | nindent 8 }}\n      {{- end }}\n`,
  );
  replace(/^ {6}volumes:\n(?: {6}[- ].*\n)+/m, `$&${listTemplate('$service.volumes', 6)}`);
  result = result.replaceAll(secretPattern, (_secret, key: string) => `{{ $service.secrets.${key} }}`);
  result = result.replace(/claimName: ([a-z-]+)/, 'claimName: {{ $service.storage.existingClaim | default "$1" }}');
  if (name === 'disk-host') replace(/^( {2}replicas: )\d+$/m, '$1{{ .Values.diskHosts.replicas }}');
  if (name === 'vm-host') replace(/^( {2}replicas: )\d+$/m, '$1{{ .Values.vmHosts.replicas }}');
  if (name === 'disk' && isHost(text))
    replace(/^( {2}replicas: )\d+$/m, '$1{{ ternary 1 0 .Values.diskHosts.firstHost }}');
  if (result.includes('kind: Deployment') && !isControl)
    replace(
      /^spec:\n/m,
      '$&  {{- if not (kindIs "invalid" $service.replicas) }}\n  replicas: {{ $service.replicas }}\n  {{- end }}\n',
    );
  return withStorage(result);
};

/** Whether a pod of disk is a host beside others. */
const isHost = (text: string): boolean => /name: DISK_ROLE\n +value: host\n/.test(text);
