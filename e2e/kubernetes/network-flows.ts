import { selects } from './references.ts';
import type { KubernetesObject, Labels, Peer, PolicyPort } from './render.ts';

/** One end of a connection: a pod with these labels in a namespace, or an address outside of the cluster's pods. */
export interface Place {
  readonly labels: Labels;
  /** By default the namespace of the overlay. */
  readonly namespace?: string;
  /** No pod: the API server, an object store. Only a rule without peers means it. */
  readonly isOutside?: boolean;
}

const ownNamespace = 'interlock';

/**
 * Whether the policies of an overlay allow a connection, as a network plugin decides it: those of the sender must allow
 * it to leave, those of the receiver must allow it to enter. No policy here applies to pods of another namespace.
 * @returns the directions in which no policy allows it
 */
export const blocked = (
  objects: readonly KubernetesObject[],
  from: Place,
  to: Place,
  port: number,
  protocol = 'TCP',
): readonly ('out' | 'in')[] => {
  const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy');
  const lets = (place: Place, other: Place, type: 'Ingress' | 'Egress'): boolean => {
    if (place.isOutside === true || (place.namespace ?? ownNamespace) !== ownNamespace) return true;
    const own = policies.filter(
      ({ spec }) => spec.policyTypes?.includes(type) && selects(spec.podSelector, place.labels),
    );
    if (own.length === 0) return true;
    return own.some(({ spec }) =>
      (type === 'Ingress'
        ? (spec.ingress ?? []).map((rule) => ({ ...rule, peers: rule.from }))
        : (spec.egress ?? []).map((rule) => ({ ...rule, peers: rule.to }))
      ).some(({ peers, ports }) => isPort(ports, port, protocol) && isPeer(peers, other)),
    );
  };
  return [...(lets(from, to, 'Egress') ? [] : ['out' as const]), ...(lets(to, from, 'Ingress') ? [] : ['in' as const])];
};

const isPort = (ports: readonly PolicyPort[] | undefined, port: number, protocol: string): boolean =>
  ports === undefined || ports.some((one) => one.port === port && one.protocol === protocol);

const isPeer = (
  peers: readonly Peer[] | undefined,
  { labels, namespace = ownNamespace, isOutside }: Place,
): boolean => {
  if (peers === undefined) return true;
  if (isOutside === true) return false;
  return peers.some(({ podSelector, namespaceSelector }) => {
    const isThere =
      namespaceSelector === undefined
        ? namespace === ownNamespace
        : selects(namespaceSelector, { 'kubernetes.io/metadata.name': namespace, ...namespaceLabels[namespace] });
    return isThere && selects(podSelector, labels);
  });
};

/** Labels of namespaces in addition to their names. */
const namespaceLabels: Readonly<Record<string, Labels>> = {
  callers: { 'interlock.example.com/clients': 'true' },
  colleagues: { 'platform.example/interlock-clients': 'true' },
};
