import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import type { KubernetesObject } from './render.ts';

/** What a model of kubernetes-models is: a class that checks what it is made of. */
type Model = new (data: object) => { validate(): void };

/** Packages with models of kinds that are not Kubernetes' own, by API group. */
const packagesByGroup: Readonly<Record<string, string>> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'keda.sh': '@kubernetes-models/keda',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
};

/** Kinds of which no package has a model: JSON schemas of the parts used here, closed against everything else. */
const ownSchemas: Readonly<Record<string, object>> = JSON.parse(
  readFileSync(new URL('custom-resources.schema.json', import.meta.url), 'utf8'),
);

const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false });
const compiled = new Map<string, ValidateFunction>();

/**
 * What is wrong with an object: a field that is missing or of the wrong type, a field the kind does not have, or an
 * unknown kind. An API server with strict field validation refuses the same.
 * @returns problems in words; empty when there are none
 */
export const problemsOf = async (object: KubernetesObject): Promise<readonly string[]> => {
  const { apiVersion, kind } = object;
  const name = `${apiVersion} ${kind}`;
  const schema = ownSchemas[name];
  if (schema !== undefined) {
    const check = compiled.get(name) ?? ajv.compile({ $defs: ownSchemas.$defs, ...schema });
    compiled.set(name, check);
    if (check(object)) return [];
    return (check.errors ?? []).map(
      ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  }
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const path = `${packagesByGroup[group] ?? 'kubernetes-models'}/${apiVersion}/${kind}`;
  let model: Model;
  try {
    model = (await import(path))[kind];
  } catch {
    return [`no model of ${name} is known (looked for ${path})`];
  }
  const { seen, watched } = watch(object);
  try {
    Object.assign(new model({}), watched).validate();
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
  return unread(object, seen, '');
};

/** Which fields of which object were read. */
type Seen = ReadonlyMap<object, ReadonlySet<string>>;

/**
 * The models let fields through that they do not know. But they are generated code that reads each field it knows by its
 * name, so what was never read is not known: the object is handed over wrapped, and reading is noted.
 */
const watch = (root: KubernetesObject): { readonly seen: Seen; readonly watched: object } => {
  const seen = new Map<object, Set<string>>();
  const wrap = <Value>(value: Value): Value => {
    if (typeof value !== 'object' || value === null) return value;
    const read = seen.get(value) ?? new Set<string>();
    seen.set(value, read);
    if (Array.isArray(value)) return value.map(wrap) as Value;
    return new Proxy(value, {
      get: (target, key) => {
        if (typeof key === 'string') read.add(key);
        return wrap(Reflect.get(target, key));
      },
    });
  };
  const fields = Object.fromEntries(Object.entries(root).map(([key, value]) => [key, wrap(value)]));
  return { seen, watched: fields };
};

const unread = (value: unknown, seen: Seen, path: string): readonly string[] => {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item, n) => unread(item, seen, `${path}[${n}]`));
  return Object.entries(value).flatMap(([key, inner]) =>
    path !== '' && !seen.get(value)?.has(key)
      ? [`${path}.${key} is no field there`]
      : unread(inner, seen, `${path}.${key}`),
  );
};
