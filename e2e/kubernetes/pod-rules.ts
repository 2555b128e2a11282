import type { Container, KubernetesObject, PodSpec } from './render.ts';

/** Variables whose name suggests a secret. Paths of files do not count. */
const secretName = /(PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_KEY)(?!.*_FILE$)/;

/**
 * Violations of the project's rules and of PodSecurity `restricted` by the pods of a workload: not root, no unneeded
 * privilege, limits, a probe of each kind, an image with a version, no secret in plain text.
 */
export const podProblems = ({ kind, metadata, spec }: KubernetesObject): readonly string[] => {
  const pod = spec.template.spec;
  const of = `${kind} ${metadata.name}`;
  return [
    ...securityProblems(pod),
    ...pod.containers.flatMap((container) => containerProblems(container, kind === 'Job')),
    ...(kind === 'Job' ? [] : drainProblems(pod)),
  ].map((problem) => `${of}: ${problem}`);
};

const securityProblems = (pod: PodSpec): readonly string[] => {
  const security = pod.securityContext ?? {};
  const seccomp = security.seccompProfile as { type?: string } | undefined;
  return [
    ...problem(security.runAsNonRoot !== true || !(Number(security.runAsUser) > 0), 'may run as root'),
    ...problem(!['RuntimeDefault', 'Localhost'].includes(seccomp?.type ?? ''), 'has no seccomp profile'),
    ...problem(pod.enableServiceLinks !== false, 'gets a variable for each Service there is'),
    ...problem(
      pod.automountServiceAccountToken !== false && pod.serviceAccountName !== 'setup',
      'gets a token of the cluster it has no use for',
    ),
    ...problem(
      // Default: 0644.
      (pod.volumes ?? []).some(({ secret }) => secret !== undefined && ((secret.defaultMode ?? 0o644) & 0o037) !== 0),
      'has secrets that others may read, or the group may write',
    ),
    ...problem(
      (pod.volumes ?? []).some((volume) => 'hostPath' in volume),
      'mounts a folder of its node',
    ),
  ];
};

const containerProblems = (container: Container, isJob: boolean): readonly string[] => {
  const { image, imagePullPolicy, resources = {}, securityContext = {}, env = [] } = container;
  const capabilities = securityContext.capabilities as
    | { drop?: readonly string[]; add?: readonly string[] }
    | undefined;
  const tag = /:([^:/@]+)(?:@sha256:[0-9a-f]{64})?$/.exec(image)?.[1];
  const missing = (['cpu', 'memory', 'ephemeral-storage'] as const).flatMap((what) => [
    ...problem(resources.requests?.[what] === undefined, `requests no ${what}`),
    ...problem(resources.limits?.[what] === undefined, `has no limit of ${what}`),
  ]);
  return [
    ...missing,
    ...problem(tag === undefined || tag === 'latest', `${image} does not say which version it is`),
    ...problem(imagePullPolicy !== 'IfNotPresent', 'cannot run an image that was only imported'),
    ...problem(securityContext.allowPrivilegeEscalation !== false, 'may gain privileges'),
    ...problem(securityContext.readOnlyRootFilesystem !== true, 'may write to its root'),
    ...problem(!capabilities?.drop?.includes('ALL') || (capabilities.add ?? []).length > 0, 'keeps capabilities'),
    // A pod that serves nothing has no probe: Kubernetes watches its end.
    ...(isJob || container.ports === undefined
      ? []
      : (['startupProbe', 'livenessProbe', 'readinessProbe'] as const).flatMap((probe) =>
          problem(container[probe] === undefined, `has no ${probe}`),
        )),
    ...env.flatMap(({ name, value }) =>
      problem(value !== undefined && value !== '' && secretName.test(name), `${name} is a secret in plain text`),
    ),
  ].map((text) => `${container.name} ${text}`);
};

/** Time to drain: the shutdown of a service and the pause before it fit into the grace period. */
const drainProblems = (pod: PodSpec): readonly string[] =>
  pod.containers.flatMap(({ name, lifecycle }) => {
    const pauseSeconds = lifecycle?.preStop?.sleep?.seconds ?? 0;
    const graceSeconds = pod.terminationGracePeriodSeconds ?? 30;
    return problem(graceSeconds <= pauseSeconds, `${name} is killed before it is told to stop`);
  });

const problem = (isSo: boolean, text: string): readonly string[] => (isSo ? [text] : []);
