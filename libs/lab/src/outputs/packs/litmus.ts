import type { CloudPart } from '../../experiment.ts';
import { durationText } from '../../expressions/duration.ts';
import { yamlComment, yamlText } from '../yaml-text.ts';
import { commandContainer, commandVolumes, type PackImage } from './container.ts';
import { type Command, headOf, type Pack, type PackStep, weakerFaults, withObjectNames } from './pack.ts';

const statefulParts: readonly CloudPart[] = ['disk', 'compute', 'nats', 'postgres'];

/** Name and settings of the Litmus fault for a step; undefined if it has none. A paused part is cut off from all messages. */
const faultOf = ({ action, parts, byMs }: PackStep & { readonly kind: 'fault' }) => {
  const [, other] = parts;
  switch (action) {
    case 'kill':
    case 'restart':
      return { name: 'pod-delete', env: { CHAOS_INTERVAL: '20', FORCE: 'true' } };
    case 'pause':
      return { name: 'pod-network-loss', env: { NETWORK_PACKET_LOSS_PERCENTAGE: '100' } };
    case 'slow':
      return { name: 'pod-network-latency', env: { NETWORK_LATENCY: String(byMs) } };
    case 'cut':
      return {
        name: 'pod-network-partition',
        env: { POLICY_TYPES: 'all', POD_SELECTOR: `app.kubernetes.io/name=${other}` },
      };
    case 'fill-storage':
      return { name: 'disk-fill', env: { FILL_PERCENTAGE: '100' } };
    default:
      return undefined;
  }
};

/** Probe that no lease is older than its time to live, also during the fault. */
const leaseProbe = {
  name: 'no-lease-beyond-its-bound',
  type: 'promProbe',
  mode: 'Continuous',
  'promProbe/inputs': {
    endpoint: 'http://prometheus-operated.observability.svc:9090',
    query: 'max(interlock_lease_age_seconds) / max(interlock_lease_ttl_seconds) or vector(0)',
    comparator: { criteria: '<=', value: '1' },
  },
  runProperties: { probeTimeout: '5s', interval: '5s', retry: 2, stopOnFailure: true },
};

const engineOf = (step: PackStep & { readonly kind: 'fault' }): object | undefined => {
  const fault = faultOf(step);
  const [part] = step.parts;
  if (fault === undefined || part === undefined) return undefined;
  const env = { TOTAL_CHAOS_DURATION: String(Math.max(1, Math.ceil(step.forMs / 1_000))), ...fault.env };
  return {
    apiVersion: 'litmuschaos.io/v1alpha1',
    kind: 'ChaosEngine',
    metadata: { name: step.name, namespace: 'interlock' },
    spec: {
      engineState: 'active',
      annotationCheck: 'false',
      appinfo: {
        appns: 'interlock',
        applabel: `app.kubernetes.io/name=${part}`,
        appkind: statefulParts.includes(part) ? 'statefulset' : 'deployment',
      },
      chaosServiceAccount: 'litmus-admin',
      experiments: [
        {
          name: fault.name,
          spec: {
            components: { env: Object.entries(env).map(([name, value]) => ({ name, value })) },
            probe: [leaseProbe],
          },
        },
      ],
    },
  };
};

const labels = { 'app.kubernetes.io/name': 'experimenter', 'app.kubernetes.io/part-of': 'interlock' };

const jobOf = (name: string, command: Command, image: PackImage): object => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { generateName: `${name}-`, namespace: 'interlock', labels },
  spec: {
    backoffLimit: 3,
    ttlSecondsAfterFinished: 3600,
    template: {
      metadata: { labels },
      spec: {
        serviceAccountName: 'experimenter',
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        restartPolicy: 'Never',
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 10001,
          runAsGroup: 10001,
          fsGroup: 10001,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        containers: [commandContainer('interlock', command, image)],
        // 0440 in decimal, because octal numbers differ between versions of YAML.
        volumes: commandVolumes(288),
      },
    },
  },
});

/** Engines of LitmusChaos, and Jobs for steps without a Litmus fault, by time. Litmus itself does not wait between them. */
export const litmusPack = (whole: Pack, image: PackImage): string => {
  const pack = { ...whole, steps: withObjectNames(whole.steps) };
  const left: string[] = [];
  const objects = pack.steps.flatMap((step) => {
    const own =
      step.kind === 'fault' ? [engineOf(step)] : step.commands.map((command) => jobOf(step.name, command, image));
    const made = own.filter((one) => one !== undefined);
    if (made.length === 0) left.push(`step: ${step.name}`);
    return made.map((object) => ({ comment: `At ${durationText(step.atMs)}: ${step.name}`, object }));
  });
  const checks = pack.checks.map(({ atMs, command }) => ({
    comment: `At ${durationText(atMs)}: ${command.join(' ')}`,
    object: jobOf('check', command, image),
  }));
  const rollbacks = pack.rollbacks.map((command) => ({
    comment: 'In the end, whatever happened',
    object: jobOf('rollback', command, image),
  }));
  const head = headOf({ ...pack, notes: [...pack.notes, ...left], weaker: [...pack.weaker, ...weakerFaults(pack)] }, [
    'Then: kubectl apply -f deploy/kubernetes/experiments/litmus/policies.yaml, and kubectl create -f each object at its time.',
  ]);
  return (
    head +
    [...objects, ...checks, ...rollbacks]
      .map(({ comment, object }) => `${yamlComment(comment)}${yamlText(object)}`)
      .join('---\n')
  );
};
