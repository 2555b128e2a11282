import { type Experiment, endMsOf, type FaultAction, isFaultAction, isHostTarget, type Problem } from '@interlock/lab';
import { serviceNames } from '@interlock/local/services.ts';
import { isObject } from '../../../deploy/kubernetes/kubectl.ts';
import { otherSettings } from '../cloud/setting-defaults.ts';

/** An object of Kubernetes, as kubectl returns or renders it. */
type Manifest = Readonly<Record<string, unknown>>;

/** What an experiment needs to know of a cloud in a cluster. */
export interface ClusterFacts {
  /** Settings of the services by variable: the shared ones, and the variables of their containers. An absent one has its default. */
  readonly settings: Readonly<Record<string, string>>;
  /** Parts whose pods share their process namespace: no process can stop process 1 of its own namespace. */
  readonly pausable: ReadonlySet<string>;
}

/**
 * Reads the facts of a cloud.
 * @param shared the ConfigMap `interlock-settings`
 * @param workloads Deployments and StatefulSets; those that are not of services do not count
 */
export const factsOf = (shared: unknown, workloads: readonly Manifest[]): ClusterFacts => {
  const ofServices = workloads.filter(({ metadata }) => serviceNames.some((name) => name === Object(metadata).name));
  const own = ofServices.flatMap((workload) => {
    const containers = podOf(workload).containers;
    const variables: readonly unknown[] = Object(Array.isArray(containers) ? containers[0] : {}).env ?? [];
    return variables.flatMap((one) =>
      isObject(one) && typeof one.value === 'string' ? [[String(one.name), one.value]] : [],
    );
  });
  const data: Readonly<Record<string, string>> = isObject(shared) && isObject(shared.data) ? Object(shared.data) : {};
  const sharing = ofServices.filter((workload) => podOf(workload).shareProcessNamespace === true);
  return {
    settings: { ...data, ...Object.fromEntries(own) },
    pausable: new Set(sharing.map(({ metadata }) => String(Object(metadata).name))),
  };
};

const podOf = ({ spec }: Manifest): Manifest => Object(Object(Object(spec).template).spec);

/** Faults that kubectl can inject. */
const byKubectl: readonly string[] = ['kill', 'restart', 'pause', 'cut'] satisfies readonly FaultAction[];

const isServer = (part: string | undefined): boolean => part === 'nats' || part === 'postgres';

/** The parts of an experiment that no cluster can do. */
export const refusedInCluster = (experiment: Experiment): readonly Problem[] => [
  ...refusedSteps(experiment),
  ...refusedProofs(experiment),
];

const refusedSteps = (experiment: Experiment): readonly Problem[] => {
  const { timeline, expect } = experiment;
  const cuts = timeline.filter(({ action }) => action === 'cut');
  const uninterrupted = expect.find(({ text }) => /\.running\b/.test(text));
  return timeline.flatMap(({ action, targets, line, name, atMs }): readonly Problem[] => {
    const [part] = targets;
    const refuse = (message: string, cure: string): readonly Problem[] => [
      { line, message: `${name}: ${message}`, cure },
    ];
    if (action === 'throttle' || (isFaultAction(action) && !byKubectl.includes(action)))
      return refuse(
        `a cluster cannot do ${action} by kubectl`,
        'Use --target local or simulated, or export the experiment to Chaos Mesh.',
      );
    const host = targets.find(isHostTarget);
    if (host !== undefined)
      return refuse(
        `no pod of the cluster is ${host}: its pods of disk and of compute are one part each`,
        'Name disk or compute, or use --target local.',
      );
    const earlier = cuts.find((one) => one.name !== name && one.atMs <= atMs && endMsOf(experiment, one) > atMs);
    if (action === 'cut' && earlier !== undefined)
      return refuse(
        `a cluster has one cut at a time, and "${earlier.name}" (line ${earlier.line}) is not healed yet`,
        'Begin it when the other has ended, or use --target local.',
      );
    if (action === 'pause' && isServer(part))
      return refuse(`${part} cannot be paused from inside`, 'Kill it, or cut it off.');
    if ((action === 'kill' || action === 'restart') && part === 'compute' && uninterrupted !== undefined)
      return refuse(
        `the guests of a cluster end with the pod of compute, and the file expects ${uninterrupted.text} (line ${uninterrupted.line})`,
        'Use --target local, or remove that expectation.',
      );
    return [];
  });
};

const refusedProofs = ({ timeline, proof }: Experiment): readonly Problem[] =>
  proof.flatMap(({ see, of, line }): readonly Problem[] => {
    const step = timeline.find(({ name }) => name === of);
    const isSeen = see !== 'calls-fail' || (step?.action !== 'cut' && !isServer(step?.targets[0]));
    if (isSeen) return [];
    return [
      {
        line,
        message: `calls-fail of ${of} cannot be seen from outside of a cluster`,
        cure: 'Prove it by process-gone, or by what it does to machines.',
      },
    ];
  });

/** Pauses of parts whose pods do not share their process namespace. */
export const unpausableSteps = ({ timeline }: Experiment, { pausable }: ClusterFacts): readonly Problem[] =>
  timeline
    .filter(
      ({ action, targets }) => action === 'pause' && !targets.every((part) => isServer(part) || pausable.has(part)),
    )
    .map(({ line, name, targets }) => ({
      line,
      message: `${name}: ${targets.join()} cannot be paused: its pods do not share their process namespace`,
      cure: 'Apply deploy/kubernetes/overlays/chaos, or set shareProcessNamespace: true in your overlay; or kill or cut the part instead.',
    }));

/** Settings that an experiment needs and that the cloud does not have. */
export const missingSettings = (experiment: Experiment, { settings }: ClusterFacts): readonly Problem[] => {
  const cure = 'Set it in the ConfigMap interlock-settings and restart the pods, or remove it from the file.';
  const purge = experiment.timeline.find(({ action }) => action === 'purge-key');
  return [
    ...otherSettings(experiment, settings).map(({ name, value, has }) => ({
      line: experiment.settingLines[name] ?? 1,
      message: `the file needs ${name}=${value}, and the cluster has ${has}`,
      cure,
    })),
    ...(purge === undefined || settings.REQUIRE_PURGE_PROTECTION === 'false'
      ? []
      : [{ line: purge.line, message: `${purge.name}: it needs REQUIRE_PURGE_PROTECTION=false`, cure }]),
  ];
};

/** Machines in QEMU on a cloud whose compute has no image to boot. */
export const withoutQemu = ({ estate }: Experiment, { settings }: ClusterFacts): readonly Problem[] =>
  estate.kind === 'existing' || settings.GUEST_IMAGE_FOLDER !== undefined
    ? []
    : estate.groups
        .filter(({ guest }) => guest === 'qemu')
        .map(({ name, line }) => ({
          line: line ?? 1,
          message: `the machines of ${name} run in QEMU, and compute of the cluster has no GUEST_IMAGE_FOLDER`,
          cure: 'Use --target local, or remove guest: qemu.',
        }));

/** Everything that a cluster with these facts refuses. */
export const refusedThere = (experiment: Experiment, facts: ClusterFacts): readonly Problem[] => [
  ...refusedInCluster(experiment),
  ...unpausableSteps(experiment, facts),
  ...missingSettings(experiment, facts),
  ...withoutQemu(experiment, facts),
];
