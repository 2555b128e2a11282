import type { Variable } from './render.ts';

/** Where variables of a pod get their values. Each returns `undefined` for what does not exist. */
export interface VariableSources {
  /** Fields of the pod by their paths: `metadata.name`. */
  readonly fields: Readonly<Record<string, string>>;
  readonly secret: (reference: { readonly name: string; readonly key: string }) => string | undefined;
  readonly setting: (reference: { readonly name: string; readonly key: string }) => string | undefined;
}

/**
 * The values of the variables of a container, as a kubelet makes them: in order, because one may refer to those before it.
 * @throws Error that names a variable whose source does not exist
 */
export const variablesOf = (
  variables: readonly Variable[],
  { fields, secret, setting }: VariableSources,
): Readonly<Record<string, string>> => {
  const values = new Map<string, string>();
  for (const { name, value, valueFrom } of variables) {
    const { secretKeyRef, configMapKeyRef, fieldRef } = valueFrom ?? {};
    const found =
      value?.replace(/\$\((\w+)\)/g, (whole, other: string) => values.get(other) ?? whole) ??
      (secretKeyRef && secret(secretKeyRef)) ??
      (configMapKeyRef && setting(configMapKeyRef)) ??
      (fieldRef && fieldOf(fields, fieldRef.fieldPath));
    if (found === undefined) throw new Error(`variable ${name} refers to nothing`);
    values.set(name, found);
  }
  return Object.fromEntries(values);
};

/** A label that the pod does not have is empty, as in a cluster. */
const fieldOf = (fields: Readonly<Record<string, string>>, path: string): string | undefined =>
  fields[path] ?? (path.startsWith('metadata.labels[') ? '' : undefined);
