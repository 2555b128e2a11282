import { join } from 'node:path';
import { repository } from './data-folder.ts';

/** The services of the cloud, in the order in which they are listed; they are stopped in the reverse one. */
export const serviceNames = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'] as const;

export type ServiceName = (typeof serviceNames)[number];

/** The file a service is started with. */
export function entryOf(service: ServiceName): string {
  return join(repository, 'services', service, 'src/main.ts');
}

/** Its database, on a server it may share: `<cloud>_key_vault`. */
export function databaseOf(cloud: string, service: ServiceName): string {
  return `${cloud}_${service}`.replaceAll('-', '_');
}

/** The variable in which the others find its address: `KEY_VAULT_ADDRESS`. */
export function addressVariableOf(service: ServiceName): string {
  return `${service.toUpperCase().replaceAll('-', '_')}_ADDRESS`;
}
