import { join, resolve } from 'node:path';
import { build } from '../commands/build.ts';
import { UsageError } from '../problems.ts';
import { type CloudContext, contextNamed, readContexts } from './contexts.ts';
import type { Environment, GlobalFlags } from './environment.ts';

/** A Kubernetes cluster and a namespace in it. */
export interface ClusterPlace {
  /** A context of the kubeconfig; the current one when undefined. */
  readonly context: string | undefined;
  readonly namespace: string;
}

/** Which cloud a command calls. */
export interface Place {
  /** What its context says; empty where none is meant. */
  readonly context: CloudContext;
  /** The launcher's data folder; undefined where none is meant. */
  readonly data: string | undefined;
  /** The cluster it is in; undefined where it is in none. */
  readonly cluster: ClusterPlace | undefined;
  /** The environment, without the addresses and certificates that a context or cluster says in its place. */
  readonly env: Environment;
}

/**
 * Finds the cloud that is meant. The first of these names it: `--kube-context`, `--context`, `--data`, `INTERLOCK_KUBE_CONTEXT`,
 * `INTERLOCK_CONTEXT`, `INTERLOCK_DATA`, the current context, the clone's own data folder.
 * @throws UsageError for a context that does not exist, and for two flags that each name a cloud
 */
export function placeOf(flags: GlobalFlags, env: Environment): Place {
  if (flags.context !== undefined && (flags.kubeContext ?? flags.data) !== undefined) {
    const other = flags.kubeContext === undefined ? '--data' : '--kube-context';
    throw new UsageError(`--context and ${other} each name a cloud: give one of them`);
  }
  const namespace = flags.namespace ?? env.INTERLOCK_NAMESPACE;
  const { kubeContext, name, flag, isNamed } = sourceOf(flags, env);
  const context = name === undefined ? {} : contextNamed(readContexts(env), name, flag);
  const kube = kubeContext ?? context.kubeContext;
  const data = name === undefined ? dataFolder(flags, env) : context.data;
  return {
    context,
    data,
    cluster:
      kube === undefined ? undefined : { context: kube, namespace: namespace ?? context.namespace ?? 'interlock' },
    env: kube !== undefined || isNamed ? withoutPlaces(env) : env,
  };
}

/** What names the cloud: a context of kubectl, one of ours, or neither of them. */
interface Source {
  readonly kubeContext?: string;
  readonly name?: string;
  /** Where it was named, for errors. */
  readonly flag: string;
  /** Whether a context was named for this command, by a flag or the environment. */
  readonly isNamed: boolean;
}

function sourceOf(flags: GlobalFlags, env: Environment): Source {
  if (flags.kubeContext !== undefined) return { kubeContext: flags.kubeContext, flag: '--kube-context', isNamed: true };
  if (flags.context !== undefined) return { name: flags.context, flag: '--context', isNamed: true };
  if (flags.data !== undefined) return { flag: '--data', isNamed: false };
  const kubeContext = env.INTERLOCK_KUBE_CONTEXT;
  const name = env.INTERLOCK_CONTEXT;
  if (kubeContext !== undefined) return { kubeContext, flag: 'INTERLOCK_KUBE_CONTEXT', isNamed: true };
  if (name !== undefined) return { name, flag: 'INTERLOCK_CONTEXT', isNamed: true };
  const { current } = env.INTERLOCK_DATA === undefined ? readContexts(env) : { current: undefined };
  return current === undefined
    ? { flag: 'INTERLOCK_DATA', isNamed: false }
    : { name: current, flag: 'the current context', isNamed: false };
}

/** The launcher's data folder, whether anything runs there or not; that of the clone unless one is named. */
export function dataFolder(flags: Pick<GlobalFlags, 'data'>, env: Environment): string | undefined {
  const named = flags.data ?? env.INTERLOCK_DATA;
  if (named !== undefined && named !== '') return resolve(named);
  return build.clone === undefined ? undefined : join(build.clone, '.interlock');
}

/** The environment without what says where services are, and what is shown and trusted there. */
export function withoutPlaces(env: Environment): Environment {
  const isPlace = (name: string): boolean => /^INTERLOCK_(.+_ADDRESS|CA_FILE|CERTIFICATE_FILE|KEY_FILE)$/.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isPlace(name)));
}
