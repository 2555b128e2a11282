import { join, resolve } from 'node:path';
import { userData } from '@interlock/local/data-folder.ts';
import type { Workload } from '@interlock/rpc';
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

/** A cloud in a cluster, reached from here. */
export interface ClusterCloud {
  /** A private folder with `cloud.json` and the files it names, as the launcher writes them for a local cloud. */
  readonly folder: string;
  /** Services that cannot be reached, and why. */
  readonly absent: ReadonlyMap<Workload, string>;
  /** Address of a disk host from here. @param address as the disk service returns it */
  dataAddress(address: string): string;
  close(): void;
}

/** Which cloud a command calls. */
export interface Place {
  /** Its context; empty without one. */
  readonly context: CloudContext;
  /** The launcher's data folder, where the cloud is local. */
  readonly data: string | undefined;
  /** The cluster, where the cloud is in one. */
  readonly cluster: ClusterPlace | undefined;
  /** The environment, without addresses and certificates that a context or cluster replaces. */
  readonly env: Environment;
}

/**
 * Finds the cloud of a command. The first of these names it: `--kube-context`, `--context`, `--data`, `INTERLOCK_KUBE_CONTEXT`,
 * `INTERLOCK_CONTEXT`, `INTERLOCK_DATA`, the current context, the data folder of the clone or of the user.
 * @throws UsageError for a context that does not exist, and for two flags that each name a cloud
 */
export function placeOf(flags: GlobalFlags, env: Environment): Place {
  if (flags.context !== undefined && (flags.kubeContext ?? flags.data) !== undefined) {
    const other = flags.kubeContext === undefined ? '--data' : '--kube-context';
    throw new UsageError(`--context and ${other} each name a cloud: use one of them`);
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

/** What names the cloud: a context of kubectl, a context of the command line, or neither. */
interface Source {
  readonly kubeContext?: string;
  readonly name?: string;
  /** Flag or variable that named it, for errors. */
  readonly flag: string;
  /** Whether a flag or the environment named a context. */
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

/**
 * The data folder for commands about a local cloud itself, such as `up` and `fault`: the named one, otherwise that of the clone. Where
 * the command line is installed: that of the context, otherwise that of the user.
 */
export function localData(flags: GlobalFlags, env: Environment): string {
  const isNamed = namedData(flags, env) !== undefined || build.clone !== undefined;
  const data = isNamed ? undefined : placeOf(flags, env).data;
  return data ?? dataFolder(flags, env);
}

function namedData(flags: Pick<GlobalFlags, 'data'>, env: Environment): string | undefined {
  const named = flags.data ?? env.INTERLOCK_DATA;
  return named === undefined || named === '' ? undefined : resolve(named);
}

function dataFolder(flags: Pick<GlobalFlags, 'data'>, env: Environment): string {
  return namedData(flags, env) ?? (build.clone === undefined ? userData(env) : join(build.clone, '.interlock'));
}

/** The environment without addresses and certificates. */
export function withoutPlaces(env: Environment): Environment {
  const isPlace = (name: string): boolean => /^INTERLOCK_(.+_ADDRESS|CA_FILE|CERTIFICATE_FILE|KEY_FILE)$/.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isPlace(name)));
}
