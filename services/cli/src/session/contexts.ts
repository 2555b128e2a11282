import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Workload } from '@interlock/rpc';
import { readUserFile } from '@interlock/runtime';
import { UsageError } from '../problems.ts';
import { isObject } from '../request/schema.ts';
import type { Environment } from './environment.ts';

/** A named cloud with defaults for flags. Paths are absolute. */
export interface CloudContext {
  /** Folder of the launcher that runs the cloud; its `cloud.json` and `administrator.json` are read each time. */
  readonly data?: string;
  /** A context of the kubeconfig: the cloud is in that cluster. */
  readonly kubeContext?: string;
  /** Namespace in the cluster. */
  readonly namespace?: string;
  /** host:port of services. */
  readonly addresses?: Readonly<Partial<Record<Workload, string>>>;
  /** PEM file of the authority that signed the services' certificates. */
  readonly caFile?: string;
  /** PEM files of the client's certificate and its key. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** Who calls: `<principal UUID>:<file with its secret>`. */
  readonly as?: string;
  /** `tenants/{t}` */
  readonly tenant?: string;
  readonly subscription?: string;
  readonly group?: string;
}

/** The contexts of a user. */
export interface Contexts {
  /** Name of the current context. */
  readonly current: string | undefined;
  readonly contexts: Readonly<Record<string, CloudContext>>;
}

/** `$XDG_CONFIG_HOME/interlock/config.json`, by default below `~/.config`; undefined without a home. */
export function contextsFile(env: Environment): string | undefined {
  const home = env.HOME;
  const folder = env.XDG_CONFIG_HOME || (home ? join(home, '.config') : undefined);
  return folder === undefined ? undefined : join(folder, 'interlock/config.json');
}

/** All contexts; none without a file. @throws UsageError for an unreadable or invalid file */
export function readContexts(env: Environment): Contexts {
  const file = contextsFile(env);
  const none: Contexts = { current: undefined, contexts: {} };
  if (file === undefined) return none;
  let text: string;
  try {
    text = readUserFile(file).toString('utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return none;
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    const found: unknown = JSON.parse(text);
    if (!isObject(found) || !isObject(found.contexts)) throw new Error('it must be an object with "contexts"');
    const current = typeof found.current === 'string' ? found.current : undefined;
    return { current, contexts: found.contexts as Readonly<Record<string, CloudContext>> };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${file} is invalid: ${why}. Correct or remove it`, { cause: error });
  }
}

/** Replaces the file; only its owner can read it. @throws UsageError without a home folder */
export function writeContexts(env: Environment, contexts: Contexts): void {
  const file = contextsFile(env);
  if (file === undefined) throw new UsageError('set XDG_CONFIG_HOME or HOME: contexts are stored there');
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(contexts, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(draft, file);
}

/** A context by name. @param flag that named it, for the error. @throws UsageError with the existing contexts */
export function contextNamed({ contexts }: Contexts, name: string, flag: string): CloudContext {
  const found = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (found !== undefined) return found;
  const names = Object.keys(contexts);
  const known = names.length === 0 ? 'no context exists' : `existing contexts: ${names.join(', ')}`;
  throw new UsageError(
    `${flag}: there is no context "${name}"; ${known}: interlock context add ${name} adds it. --kube-context names a context of kubectl`,
  );
}
