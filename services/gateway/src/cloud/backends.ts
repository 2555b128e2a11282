import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type Channel, connect, type Definition, type RpcClient, type Workload } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';

/** The services, without credentials: each call carries the token of the caller it is made for. */
export interface Backends {
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  /** The events that key-vault stored. */
  readonly keyVaultEvents: RpcClient<typeof MessagingServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly compute: RpcClient<typeof ComputeServiceDefinition>;
  /** Reads and writes of disks, at a `host:port` that the disk service named. Each call carries the token of an access. */
  readonly diskDataAt: (address: string) => RpcClient<typeof DiskDataServiceDefinition>;
}

/** Makes the clients. They connect with the first call. */
export const openBackends = (parts: {
  readonly channelTo: (service: Workload) => Channel;
  /** Opens a channel of the data path. */
  readonly dataChannelTo: (address: string) => Channel;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
}): Backends => {
  const { channelTo, dataChannelTo, ...seams } = parts;
  const client = <D extends Definition>(service: Workload, definition: D): RpcClient<D> =>
    connect({
      ...seams,
      channel: channelTo(service),
      definition,
      credentials: undefined,
      audience: `interlock:${service}`,
    });
  const dataClients = new Map<string, RpcClient<typeof DiskDataServiceDefinition>>();
  const diskDataAt = (address: string): RpcClient<typeof DiskDataServiceDefinition> => {
    const known = dataClients.get(address);
    if (known !== undefined) return known;
    const made = connect({
      ...seams,
      channel: dataChannelTo(address),
      definition: DiskDataServiceDefinition,
      credentials: undefined,
      audience: 'interlock:disk',
    });
    dataClients.set(address, made);
    return made;
  };
  return {
    diskDataAt,
    identity: client('identity', IdentityServiceDefinition),
    keyVault: client('key-vault', KeyVaultServiceDefinition),
    keyVaultEvents: client('key-vault', MessagingServiceDefinition),
    sets: client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    disks: client('disk', DiskServiceDefinition),
    compute: client('compute', ComputeServiceDefinition),
  };
};
