import { LauncherError } from '@interlock/local/data-folder.ts';
import { isObject, itemsOf, type Kubectl, waitingOf } from './kubectl.ts';

/** Workloads in the order in which they start. compute has no rollout: its update strategy is OnDelete. */
const workloads = [
  'statefulset/postgres',
  'statefulset/nats',
  'deployment/identity',
  'deployment/key-vault',
  'deployment/disk-encryption-set',
  'statefulset/disk',
  'deployment/gateway',
  'deployment/otel-collector',
  'deployment/jaeger',
] as const;
/** Workloads of our images that can be replaced while guests run. */
const replaceable = [
  'deployment/identity',
  'deployment/key-vault',
  'deployment/disk-encryption-set',
  'deployment/gateway',
  'statefulset/disk',
];

/** Jobs of the overlay. Their names end with a digest, their labels do not. */
const jobs = ['setup', 'nats-streams'] as const;
const selecting = (job: string): readonly string[] => ['--selector', `app.kubernetes.io/name=${job}`];

/** How to bring up an overlay. */
export interface BringUp {
  readonly overlay: string;
  /** Longest time until everything is ready, including pulls. */
  readonly readySeconds: number;
  /** Whether images were built under tags that may run already: then their pods are replaced. */
  readonly hasNewImages: boolean;
  readonly say: (line: string) => void;
}

/**
 * Applies an overlay and waits until every part is ready. May be repeated.
 * @throws LauncherError with the step that failed, the pods that are not ready and why, and how to continue or remove everything
 */
export const bringUp = async (
  kubectl: Kubectl,
  { overlay, readySeconds, hasNewImages, say }: BringUp,
): Promise<void> => {
  const { context, namespace } = kubectl.place;
  // Not `delete -k`: it fails once the Job `setup` is deleted by its TTL.
  const removal = `To continue, run this command again. To remove everything, run kubectl --context ${context} delete namespace ${namespace} --wait`;
  const wasThere =
    (await kubectl.run(['get', 'deployment', 'identity', '--ignore-not-found', '--output', 'name'])) !== '';
  try {
    // One of an earlier version that does not end would be waited for, too.
    if (wasThere)
      for (const name of jobs) await kubectl.run(['delete', 'job', ...selecting(name), '--ignore-not-found']);
    await kubectl.run(['apply', '--kustomize', overlay]);
  } catch (error) {
    throw new LauncherError(`${messageOf(error)}\nPart of ${overlay} may have been applied. ${removal}`, {
      cause: error,
    });
  }
  const wait = async (what: string, args: readonly string[]): Promise<void> => {
    try {
      await kubectl.run([...args, `--timeout=${readySeconds}s`]);
    } catch (error) {
      const [, job] = what.split('Job ');
      const why = [...(await notReady(kubectl)), ...(job === undefined ? [] : await endOfLog(kubectl, job))];
      throw new LauncherError(
        [`The overlay is applied, and ${what} is not ready: ${messageOf(error)}`, ...why, removal].join('\n'),
        { cause: error },
      );
    }
  };
  for (const name of jobs) await wait(`Job ${name}`, ['wait', '--for=condition=Complete', 'job', ...selecting(name)]);
  if (wasThere && hasNewImages) {
    await kubectl.run(['rollout', 'restart', ...replaceable]);
    say(
      `The services restart with their new images, one by one. compute keeps its image, because its guests end with its pod. To replace it: kubectl --namespace ${namespace} delete pod compute-0`,
    );
  }
  for (const workload of workloads) await wait(workload, ['rollout', 'status', workload]);
  await wait('pod/compute-0', ['wait', '--for=condition=Ready', 'pod/compute-0']);
};

/** A line for each pod that is not ready: why. */
const notReady = async (kubectl: Kubectl): Promise<readonly string[]> => {
  try {
    const list = await kubectl.json(['get', 'pods']);
    return itemsOf(list).flatMap(({ metadata, status }) => {
      const waiting = isObject(status) ? waitingOf(status) : undefined;
      const name = isObject(metadata) ? String(metadata.name) : 'a pod';
      return waiting === undefined ? [] : [`  ${name}: ${waiting.reason}: ${waiting.message}`];
    });
  } catch (error) {
    return [`  the pods cannot be listed: ${messageOf(error)}`];
  }
};

const endOfLog = async (kubectl: Kubectl, job: string): Promise<readonly string[]> => {
  try {
    const log = await kubectl.run(['logs', ...selecting(job), '--tail=5']);
    return log.trim() === '' ? [] : [`The end of the log of Job ${job}:`, ...log.trim().split('\n')];
  } catch {
    // The Job has not started; its pod is in the list of pods that are not ready.
    return [];
  }
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
