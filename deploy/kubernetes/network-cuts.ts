import type { CloudPart } from '@interlock/local/control/cloud-control.ts';
import { isObject, itemsOf, type Kubectl } from './kubectl.ts';

/** Label of the policies that a cut creates, and annotation with the earlier state of those that it replaces. */
const cutLabel = 'interlock.experiment/cut';
const originalKept = 'interlock.experiment/original';
const nameKey = 'app.kubernetes.io/name';

/** A NetworkPolicy as the API server returns it. */
export type Policy = Readonly<Record<string, unknown>>;

interface Expression {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly Expression[];
}

/** Whether a selector can select pods of a part. Labels other than the name are those of every pod of the cloud. */
const selects = ({ matchLabels = {}, matchExpressions = [] }: Selector, part: CloudPart): boolean =>
  (matchLabels[nameKey] ?? part) === part &&
  matchExpressions.every(({ key, operator, values = [] }) =>
    key !== nameKey ? true : operator === 'In' ? values.includes(part) : operator !== 'NotIn' || !values.includes(part),
  );

const without = (selector: Selector, parts: readonly CloudPart[]): Selector => ({
  ...selector,
  matchExpressions: [...(selector.matchExpressions ?? []), { key: nameKey, operator: 'NotIn', values: [...parts] }],
});

/** The rules without a part among their peers. A rule that has no peers left is removed, because empty peers would mean all. */
const rulesWithout = (rules: unknown, side: 'from' | 'to', part: CloudPart): readonly unknown[] =>
  (Array.isArray(rules) ? rules : []).flatMap((rule: unknown) => {
    if (!isObject(rule) || !Array.isArray(rule[side])) return [rule];
    const peers = rule[side].flatMap((peer: unknown) => {
      if (!isObject(peer) || !isObject(peer.podSelector) || !selects(peer.podSelector, part)) return [peer];
      const selector: Selector = peer.podSelector;
      return selector.matchLabels?.[nameKey] === part ? [] : [{ ...peer, podSelector: without(selector, [part]) }];
    });
    return peers.length === 0 ? [] : [{ ...rule, [side]: peers }];
  });

const specOf = (policy: Policy): Policy & { readonly podSelector: Selector } => {
  const spec = isObject(policy.spec) ? policy.spec : {};
  return { ...spec, podSelector: isObject(spec.podSelector) ? spec.podSelector : {} };
};

/** Whether a policy allows any connection: only such policies are changed. */
const allows = (policy: Policy): boolean =>
  Array.isArray(specOf(policy).ingress) || Array.isArray(specOf(policy).egress);

/**
 * Policies that keep two parts from reaching each other, in place of those of the namespace. Policies only allow. So a cut removes
 * each part from the policies that select it, and gives it its own policy without the other part.
 * @returns policies to replace, and policies to create
 */
export const cutPolicies = (
  policies: readonly Policy[],
  [one, other]: readonly [CloudPart, CloudPart],
): { readonly replaced: readonly Policy[]; readonly created: readonly Policy[] } => {
  const replaced: Policy[] = [];
  const created: Policy[] = [];
  for (const policy of policies) {
    const spec = specOf(policy);
    const concerned = [one, other].filter((part) => selects(spec.podSelector, part));
    if (!allows(policy) || concerned.length === 0) continue;
    const { name, namespace, labels, annotations } = isObject(policy.metadata) ? policy.metadata : {};
    const { apiVersion, kind } = policy;
    replaced.push({
      ...{ apiVersion, kind },
      metadata: {
        name,
        namespace,
        labels,
        annotations: { ...Object(annotations), [originalKept]: JSON.stringify(spec) },
      },
      spec: { ...spec, podSelector: without(spec.podSelector, concerned) },
    });
    for (const part of concerned) {
      const absent = part === one ? other : one;
      created.push({
        ...{ apiVersion, kind },
        metadata: { name: `${name}-cut-${part}`, namespace, labels: { [cutLabel]: `${one}-${other}` } },
        spec: {
          ...spec,
          podSelector: { matchLabels: { [nameKey]: part } },
          ...(spec.ingress === undefined ? {} : { ingress: rulesWithout(spec.ingress, 'from', absent) }),
          ...(spec.egress === undefined ? {} : { egress: rulesWithout(spec.egress, 'to', absent) }),
        },
      });
    }
  }
  return { replaced, created };
};

/** Cuts connections of a cloud in a cluster by its network policies; one cut at a time. The network plugin must apply them. */
export interface NetworkCuts {
  cut(parts: readonly [CloudPart, CloudPart]): Promise<void>;
  /** Restores the policies, also those that another process changed. */
  heal(): Promise<void>;
}

export const networkCuts = (kubectl: Kubectl): NetworkCuts => {
  const policies = async (): Promise<readonly Policy[]> => itemsOf(await kubectl.json(['get', 'networkpolicies']));
  const send = (verb: 'create' | 'replace', items: readonly Policy[]): Promise<unknown> =>
    items.length === 0
      ? Promise.resolve()
      : kubectl.run([verb, '--filename', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  return {
    async cut(parts) {
      const { replaced, created } = cutPolicies(await policies(), parts);
      await send('create', created);
      await send('replace', replaced);
    },
    async heal() {
      const changed = (await policies()).flatMap(({ apiVersion, kind, metadata }): readonly Policy[] => {
        if (!isObject(metadata) || !isObject(metadata.annotations)) return [];
        const { [originalKept]: original, ...annotations } = metadata.annotations;
        const { name, namespace, labels } = metadata;
        return typeof original === 'string'
          ? [{ apiVersion, kind, metadata: { name, namespace, labels, annotations }, spec: JSON.parse(original) }]
          : [];
      });
      await send('replace', changed);
      await kubectl.run(['delete', 'networkpolicies', '--selector', cutLabel, '--ignore-not-found']);
    },
  };
};
