import { readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import type { KubernetesObject } from './render.ts';

/** A model of kubernetes-models: a class that validates its data. */
type Model = new (data: object) => { validate(): void };

/** Packages with models of kinds outside of Kubernetes itself, by API group. */
const packagesByGroup: Readonly<Record<string, string>> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'keda.sh': '@kubernetes-models/keda',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
};

/** JSON schemas for kinds without a package: only the parts used here, and no other fields are allowed. */
const ownSchemas: Readonly<Record<string, object>> = JSON.parse(
  readFileSync(new URL('custom-resources.schema.json', import.meta.url), 'utf8'),
);

const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false });
const compiled = new Map<string, ValidateFunction>();

/**
 * The problems of an object: a missing field, a wrong type, a field that the kind does not have, or an
 * unknown kind. An API server with strict field validation refuses the same.
 * @returns problems as texts; empty if there are none
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
 * The models accept fields that they do not know. But as generated code they read each field that they know by its
 * name. So the object is wrapped and reads are recorded: a field that was never read is unknown.
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
