import { join } from 'node:path';
import { LauncherError, repository } from './data-folder.ts';

/** The services of the cloud, in the order in which they are listed; they are stopped in the reverse one. */
export const serviceNames = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;

export type ServiceName = (typeof serviceNames)[number];

/** Every process with a store: the services, and the gateway. The gateway has no facts and no identity of its own. */
export const storeOwners = [...serviceNames, 'gateway'] as const;

export type StoreOwner = (typeof storeOwners)[number];

/** The file a service is started with. */
export function entryOf(service: ServiceName): string {
  return join(repository, 'services', service, 'src/main.ts');
}

/** Its database, on a server it may share: `<cloud>_key_vault`. */
export function databaseOf(cloud: string, service: StoreOwner): string {
  return `${cloud}_${service}`.replaceAll('-', '_');
}

/** The variable in which the others find its address: `KEY_VAULT_ADDRESS`. */
export function addressVariableOf(service: ServiceName): string {
  return `${service.toUpperCase().replaceAll('-', '_')}_ADDRESS`;
}

/**
 * Whether of several processes of a service one works and the others stand by: disk has the volumes of its folder to itself,
 * so they take turns under one address and one name.
 */
export function isOneAtATime(service: ServiceName): boolean {
  return service === 'disk';
}

/**
 * What a process is called for as long as the cloud runs, and its log with it. Of a service whose processes take turns the one
 * that works is known by the name of the service: which of them that is changes, so there none is called that.
 * @param replicas how many processes of the service there are
 */
export function processNameOf(service: ServiceName, replica: number, replicas: number): string {
  const isFirst = replica === 0 && !(isOneAtATime(service) && replicas > 1);
  return isFirst ? service : `${service}-${replica}`;
}

/** Most processes of each service on one machine: of all five, with 8 connections each, as many as a Postgres of 300 serves. */
const replicasMax = 7;

/**
 * How many processes of each service `--replicas` asks for; 1 where it is not given.
 * @throws LauncherError for anything but a whole number from 1 to 7
 */
export function replicasOf(text: string | undefined): number {
  if (text === undefined) return 1;
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= replicasMax) return count;
  throw new LauncherError(
    `--replicas must be a whole number from 1 to ${replicasMax}, not "${text}": these are processes of this machine, which share one Postgres.`,
  );
}

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
