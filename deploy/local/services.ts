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

/** The process of a VM host: `vm-host-0`. */
export type VmHostName = `vm-host-${number}`;

/** The process of a host, which has a folder of its own. */
export type HostName = DiskHostName | VmHostName;

/** A process of a cloud: the first of a service, or a host. */
export type ProcessTarget = ServiceName | HostName;

/** The process of the disk host `disk-<host>`. */
export const diskHostName = (host: number): DiskHostName => `disk-host-${host}`;

/** Whether a name is that of the process of a disk host. */
export const isDiskHostName = (name: string): name is DiskHostName => /^disk-host-\d+$/.test(name);

/** The process of the VM host of that number, which has the same name. */
export const vmHostName = (host: number): VmHostName => `vm-host-${host}`;

/** Whether a name is that of the process of a VM host. */
export const isVmHostName = (name: string): name is VmHostName => /^vm-host-\d+$/.test(name);

/** Whether a name is that of the process of a host. */
export const isHostName = (name: string): name is HostName => isDiskHostName(name) || isVmHostName(name);

/** The service to which a process belongs. */
export const serviceOfTarget = (target: ProcessTarget): ServiceName => {
  if (isVmHostName(target)) return 'compute';
  return isDiskHostName(target) ? 'disk' : target;
};

/** The hosts of a cloud that are processes of their own. */
export interface HostCounts {
  /** 0: one process of disk has all volumes. */
  readonly diskHosts: number;
  /** 0: compute runs the guests itself. */
  readonly vmHosts: number;
}

/** The processes of hosts. */
export const hostNamesOf = ({ diskHosts, vmHosts }: HostCounts): readonly HostName[] => [
  ...Array.from({ length: diskHosts }, (_, host) => diskHostName(host)),
  ...Array.from({ length: vmHosts }, (_, host) => vmHostName(host)),
];

/** The file a VM host is started with. */
export const vmHostEntry = join(repository, 'services/compute/src/vm-host/main.ts');

/** The file the gateway is started with. */
export const gatewayEntry = join(repository, 'services/gateway/src/main.ts');

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

/**
 * The number of VM hosts from `--vm-hosts`; 0 if it is not given: then compute runs the guests itself.
 * @throws LauncherError as `replicasOf`
 */
export function vmHostsOf(text: string | undefined): number {
  return text === undefined ? 0 : countOf('--vm-hosts', text);
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
