import type { Workload } from '@interlock/rpc';

/** Environment variables of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Every service of the cloud. */
export const services: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** Who calls: a principal, with its secret or with access tokens. */
export type Credentials = {
  /** UUID. */
  readonly principal: string;
} & ({ readonly secret: string } | { readonly tokens: Readonly<Partial<Record<Workload, string>>> });

/** Flags that say how a response is shown. */
export interface OutputFlags {
  /** `-o` */
  readonly format?: string;
  /** The same as `-o json`. */
  readonly json?: boolean;
  /** The same as `-o wide`. */
  readonly wide?: boolean;
  /** JMESPath: the part of the response to show. */
  readonly query?: string;
}

/** Flags of every command. */
export interface GlobalFlags extends OutputFlags {
  readonly data?: string;
  readonly as?: string;
  readonly subscription?: string;
  readonly group?: string;
  readonly timeout?: string;
  /** A context of the command line: `interlock context list`. */
  readonly context?: string;
  /** A context of the kubeconfig: the cloud is in that cluster. */
  readonly kubeContext?: string;
  readonly namespace?: string;
}

/** The environment without empty settings: those count as not set, as in the services. Only INTERLOCK_SPANS may be empty. */
export function withoutEmpty(env: Environment): Environment {
  const isSet = ([name, value]: readonly [string, string | undefined]): boolean =>
    value !== '' || !name.startsWith('INTERLOCK_') || name === 'INTERLOCK_SPANS';
  return Object.fromEntries(Object.entries(env).filter(isSet));
}
