import { join } from 'node:path';
import { LauncherError, repository } from './data-folder.ts';

/** The services of the cloud, in the order of lists. They are stopped in reverse order. */
export const serviceNames = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;

export type ServiceName = (typeof serviceNames)[number];

/** Every process with a store: the services, and the gateway. The gateway publishes no facts and has no identity of its own. */
export const storeOwners = [...serviceNames, 'gateway'] as const;

export type StoreOwner = (typeof storeOwners)[number];

/** The file a service is started with. */
export function entryOf(service: ServiceName): string {
  return join(repository, 'services', service, 'src/main.ts');
}

/** Its database, on a server that it may share: `<cloud>_key_vault`. */
export function databaseOf(cloud: string, service: StoreOwner): string {
  return `${cloud}_${service}`.replaceAll('-', '_');
}

/** The variable in which the other services find its address: `KEY_VAULT_ADDRESS`. */
export function addressVariableOf(service: ServiceName): string {
  return `${service.toUpperCase().replaceAll('-', '_')}_ADDRESS`;
}

/** The process of a disk host beside others: `disk-host-0`. */
export type DiskHostName = `disk-host-${number}`;

/** A process of a cloud: the first of a service, or a disk host. */
export type ProcessTarget = ServiceName | DiskHostName;

/** The process of the disk host `disk-<host>`. */
export const diskHostName = (host: number): DiskHostName => `disk-host-${host}`;

/** Whether a name is that of the process of a disk host. */
export const isDiskHostName = (name: string): name is DiskHostName => /^disk-host-\d+$/.test(name);

/** The folder of a disk host below the services' folder. The first has that of a disk service without `--disk-hosts`. */
export const folderOfDiskHost = (host: number): string => (host === 0 ? 'disk' : diskHostName(host));

/**
 * The disk hosts of a cloud: those that are asked for. Several processes of disk cannot have the volumes of one folder, so they are
 * control processes, beside one disk host at least.
 */
export const diskHostsFor = (replicas: number, wanted = 0): number => (replicas > 1 ? Math.max(1, wanted) : wanted);

/** The name of a process of a service, and of its log. */
export function processNameOf(service: ServiceName, replica: number): string {
  return replica === 0 ? service : `${service}-${replica}`;
}

/** Most processes of each service on one machine: all five services with 8 connections for each process fill a Postgres of 300. */
const replicasMax = 7;

/**
 * The number of processes of each service from `--replicas`; 1 if it is not given.
 * @throws LauncherError for anything but a whole number from 1 to 7
 */
export function replicasOf(text: string | undefined): number {
  return text === undefined ? 1 : countOf('--replicas', text);
}

/**
 * The number of disk hosts from `--disk-hosts`; 0 if it is not given: then disk is one process with the volumes.
 * @throws LauncherError as `replicasOf`
 */
export function diskHostsOf(text: string | undefined): number {
  return text === undefined ? 0 : countOf('--disk-hosts', text);
}

const countOf = (option: string, text: string): number => {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= replicasMax) return count;
  throw new LauncherError(
    `${option} must be a whole number from 1 to ${replicasMax}, not "${text}": these are processes of this machine, which share one Postgres.`,
  );
};

/** One value for each service, made from its name. */
export function eachService<Value>(make: (service: ServiceName) => Value): Record<ServiceName, Value> {
  return {
    identity: make('identity'),
    'key-vault': make('key-vault'),
    'disk-encryption-set': make('disk-encryption-set'),
    disk: make('disk'),
    compute: make('compute'),
  };
}
