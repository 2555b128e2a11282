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
 * The templates and `values.yaml` of the chart. The templates are the rendered base with values in place of what an installation
 * sets. The defaults in `values.yaml` are from the base too.
 * @param base what `kubectl kustomize deploy/kubernetes/base` prints
 * @param valuesTemplate `values.yaml` with the lines `# @@settings@@` and `# @@services@@` in place of the defaults
 * @throws LauncherError naming what is missing in the base
 */
export const chartFiles = (base: string, valuesTemplate: string): ChartFiles => {
  const objects = objectsIn(base);
  const workloads = objects.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet');
  const services = workloads.map(({ name }) => name);
  const fileOf = ({ kind, name }: RenderedObject): string => {
    const service = services.find((one) => name === one || name.startsWith(`${one}-seal-`));
    return kind === 'NetworkPolicy' ? 'network-policies' : (service ?? 'settings');
  };
  const files = new Map<string, string>();
  for (const file of new Set(objects.map(fileOf))) {
    const own = objects.filter((object) => fileOf(object) === file).map(templateOf);
    const values = services.includes(file) ? `{{- $service := index .Values.services "${file}" -}}\n` : '';
    files.set(`templates/${file}.yaml`, `${banner}${values}${own.join('---\n')}`);
  }
  const settings = objects.find(({ kind }) => kind === 'ConfigMap');
  if (settings === undefined) throw new LauncherError('The base has no ConfigMap with the settings.');
  const values = valuesTemplate
    .replace('  # @@settings@@\n', indented(blockOf(settings.text, 'data:', settings.name), 2))
    .replace('  # @@services@@\n', indented(workloads.map((workload) => serviceValues(workload, objects)).join(''), 2));
  files.set('values.yaml', values);
  return files;
};

const objectsIn = (base: string): readonly RenderedObject[] =>
  base.split(/^---\n/m).map((text) => ({
    kind: /^kind: (\w+)$/m.exec(text)?.[1] ?? '',
    name: /^metadata:\n(?: .*\n)*? {2}name: ([a-z-]+)$/m.exec(text)?.[1] ?? '',
    text,
  }));

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

/** The values of one service, with the defaults of the base. */
const serviceValues = ({ kind, name, text }: RenderedObject, objects: readonly RenderedObject[]): string => {
  const secrets = [
    ...new Set([...text.matchAll(/interlock-((?:store|tls|workload|bootstrap)[a-z-]*)/g)].map(([secret]) => secret)),
  ];
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
    `${name}:`,
    '  digest: ""',
    ...(kind === 'Deployment' ? ['  replicas: null'] : []),
    '  resources:',
    indented(blockOf(text, 'resources:', name), 4).trimEnd(),
    '  secrets:',
    ...secrets.sort().map((secret) => `    ${secretKey(secret)}: ${secret}`),
    ...(size === undefined ? [] : storage.map((line) => `  ${line}`)),
    '  podSpec: {}',
    '  volumes: []',
    '  volumeMounts: []',
    '',
  ].join('\n');
};

/** `store` of `interlock-store-key-vault`. */
const secretKey = (secret: string): string => secret.split('-')[1] ?? '';

/** An object with values in place of what an installation sets. */
const templateOf = ({ kind, name, text }: RenderedObject): string => {
  const labelled = text
    .replaceAll(/(app\.kubernetes\.io\/instance): .*/g, '$1: {{ .Release.Name | quote }}')
    .replaceAll(/(app\.kubernetes\.io\/managed-by): .*/g, '$1: {{ .Release.Service | quote }}')
    .replaceAll(/(app\.kubernetes\.io\/version): .*/g, '$1: {{ .Chart.AppVersion | quote }}');
  switch (kind) {
    case 'ConfigMap':
      return labelled.replace(/^data:\n(?: .*\n)+/m, 'data: {{- toYaml .Values.settings | nindent 2 }}\n');
    case 'PersistentVolumeClaim':
      return claimTemplate(labelled);
    case 'Deployment':
    case 'StatefulSet':
      return workloadTemplate(name, labelled);
    default:
      return labelled;
  }
};

/** Helm leaves the claim when the release is uninstalled: without seal keys every key is lost. */
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
  const replaced = (from: string, pattern: RegExp, to: string): string => {
    if (!pattern.test(from))
      throw new LauncherError(`${name} has nothing like ${pattern.source} in the rendered base.`);
    return from.replace(pattern, to);
  };
  const list = (what: string, spaces: number): string =>
    `${' '.repeat(spaces)}{{- with $service.${what} }}\n${' '.repeat(spaces)}{{- toYaml . | nindent ${spaces} }}\n${' '.repeat(spaces)}{{- end }}\n`;
  let result = replaced(text, /^( +image: ).*$/m, `$1{{ include "interlock.image" (list . "${name}") }}`);
  result = replaced(result, /^( +imagePullPolicy: ).*$/m, '$1{{ .Values.image.pullPolicy }}');
  result = replaced(result, /^( {8}resources:)\n(?: {9,}.*\n)+/m, '$1 {{- toYaml $service.resources | nindent 10 }}\n');
  result = replaced(
    result,
    /^(?= {6}enableServiceLinks: )/m,
    `${list('volumeMounts', 8)}${list('podSpec', 6)}      {{- with .Values.image.pullSecrets }}\n      imagePullSecrets: {{- toYaml . | nindent 8 }}\n      {{- end }}\n`,
  );
  result = replaced(result, /^ {6}volumes:\n(?: {6}.*\n)+/m, `$&${list('volumes', 6)}`);
  result = result.replaceAll(
    /interlock-(store|tls|workload|bootstrap)[a-z-]*/g,
    (_secret, key: string) => `{{ $service.secrets.${key} }}`,
  );
  result = result.replace(/claimName: ([a-z-]+)/, 'claimName: {{ $service.storage.existingClaim | default "$1" }}');
  if (result.includes('kind: Deployment')) {
    const replicas =
      '  {{- if not (kindIs "invalid" $service.replicas) }}\n  replicas: {{ $service.replicas }}\n  {{- end }}\n';
    result = replaced(result, /^spec:\n/m, `$&${replicas}`);
  }
  return withStorage(result);
};
