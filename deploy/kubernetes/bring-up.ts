import { LauncherError } from '@interlock/local/data-folder.ts';
import type { Kubectl } from '../../services/cli/src/cluster/kubectl.ts';
import { waitingOf } from '../../services/cli/src/cluster/pod-status.ts';
import type { ClusterProblem } from '../../services/cli/src/problems.ts';
import { isObject } from '../../services/cli/src/request/schema.ts';

/** What is waited for, in the order in which it comes up. compute is updated only on purpose (OnDelete) and has no rollout. */
const workloads = [
  'statefulset/postgres',
  'statefulset/nats',
  'deployment/identity',
  'deployment/key-vault',
  'deployment/disk-encryption-set',
  'statefulset/disk',
  'deployment/otel-collector',
  'deployment/jaeger',
] as const;
/** What runs our images, and is replaced while guests work. */
const replaceable = [
  'deployment/identity',
  'deployment/key-vault',
  'deployment/disk-encryption-set',
  'statefulset/disk',
];

/** How to bring it up. */
export interface BringUp {
  readonly overlay: string;
  /** How long everything may take to be ready, pulls included. */
  readonly readySeconds: number;
  /** Images were built anew under tags that may run already: their pods are replaced. */
  readonly hasNewImages: boolean;
  readonly say: (line: string) => void;
}

/**
 * Applies an overlay and waits until all of it is ready. Safe to repeat.
 * @throws LauncherError saying how far it came, which pods are not ready and why, and how to go on or take it away again
 */
export const bringUp = async (
  kubectl: Kubectl,
  { overlay, readySeconds, hasNewImages, say }: BringUp,
): Promise<void> => {
  const { context, namespace } = kubectl.place;
  // Not `delete -k`: it fails once the Job `setup` is deleted by its TTL.
  const takeAway = `To continue, run this command again. To remove everything, run kubectl --context ${context} delete namespace ${namespace} --wait`;
  const wasThere =
    (await kubectl.run(['get', 'deployment', 'identity', '--ignore-not-found', '--output', 'name'])) !== '';
  try {
    await kubectl.run(['apply', '--kustomize', overlay]);
  } catch (error) {
    throw new LauncherError(`${messageOf(error)}\nPart of ${overlay} may have been applied. ${takeAway}`, {
      cause: error,
    });
  }
  const wait = async (what: string, args: readonly string[]): Promise<void> => {
    try {
      await kubectl.run([...args, `--timeout=${readySeconds}s`]);
    } catch (error) {
      const why = [...(await notReady(kubectl)), ...(what.startsWith('job/') ? await endOfLog(kubectl, what) : [])];
      throw new LauncherError(
        [`The overlay is applied, and ${what} is not ready: ${messageOf(error)}`, ...why, takeAway].join('\n'),
        { cause: error },
      );
    }
  };
  for (const job of ['job/setup', 'job/nats-streams']) await wait(job, ['wait', '--for=condition=Complete', job]);
  if (wasThere && hasNewImages) {
    await kubectl.run(['rollout', 'restart', ...replaceable]);
    say(
      `Services are replaced by their new images, one by one. compute goes on with the one it has, for with its pod go its guests: kubectl --namespace ${namespace} delete pod compute-0`,
    );
  }
  for (const workload of workloads) await wait(workload, ['rollout', 'status', workload]);
  await wait('pod/compute-0', ['wait', '--for=condition=Ready', 'pod/compute-0']);
};

/** A line for each pod that is not ready: what it waits for. What cannot be found out is said in place of it. */
const notReady = async (kubectl: Kubectl): Promise<readonly string[]> => {
  try {
    const list = await kubectl.json(['get', 'pods']);
    const pods = isObject(list) && Array.isArray(list.items) ? list.items.filter(isObject) : [];
    return pods.flatMap(({ metadata, status }) => {
      const waiting = isObject(status) ? waitingOf(status) : undefined;
      const name = isObject(metadata) ? String(metadata.name) : 'a pod';
      return waiting === undefined ? [] : [`  ${name}: ${waiting.reason}: ${waiting.message}`];
    });
  } catch (error) {
    return [`  why is not known: ${messageOf(error)}`];
  }
};

const endOfLog = async (kubectl: Kubectl, what: string): Promise<readonly string[]> => {
  try {
    const log = await kubectl.run(['logs', what, '--tail=5']);
    return log.trim() === '' ? [] : [`The end of the log of ${what}:`, ...log.trim().split('\n')];
  } catch {
    // It has not started: its pod says why.
    return [];
  }
};

const messageOf = (error: unknown): string => (error as ClusterProblem).message;
