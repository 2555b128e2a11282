import { type KubernetesObject, plainName } from './render.ts';

/** Objects by kind and name, to compare renderings of Helm and kustomize: without what only Helm or kustomize sets: the label of the tool, and the policy for `helm uninstall`. */
export const comparable = (objects: readonly KubernetesObject[]): Readonly<Record<string, unknown>> => {
  const text = JSON.stringify(
    objects.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b))),
    (key, value) => {
      if (key === 'app.kubernetes.io/managed-by') return undefined;
      if (key === 'annotations' && 'helm.sh/resource-policy' in value) {
        const { 'helm.sh/resource-policy': _policy, ...others } = value;
        return Object.keys(others).length === 0 ? undefined : others;
      }
      // Helm and kustomize make the digest at the end of a Job's name of other things.
      if (key === 'name' && typeof value === 'string') return value.replace(/^(nats-streams)-[a-z0-9]{10}$/, '$1');
      // Overlays label them as their first version did; the chart never has.
      if (key === 'volumeClaimTemplates')
        return value.map(({ metadata: { labels: _, ...metadata }, ...claim }: KubernetesObject) => ({
          ...claim,
          metadata,
        }));
      return key === 'namespace' ? undefined : value;
    },
  );
  const list: readonly KubernetesObject[] = JSON.parse(text);
  return Object.fromEntries(list.map((object) => [keyOf(object), object]));
};
/** Kind and name of an object; a Job without the digest of its content. */
export const keyOf = (object: KubernetesObject): string => `${object.kind} ${plainName(object)}`;
