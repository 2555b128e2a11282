import { readFileSync } from 'node:fs';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import {
  CALL_MAX_MS,
  type Channel,
  type ClientTls,
  connect,
  type Definition,
  openChannel,
  type RpcClient,
  type TokenSource,
  tokenSource,
  type Workload,
} from '@interlock/rpc';
import { systemClock, systemRandom } from '@interlock/runtime';
import { type Tracer, trace } from '@opentelemetry/api';

/** Credentials: a principal's UUID and one of its secrets. */
export interface Credentials {
  readonly id: string;
  readonly secret: string;
}

/** Clients of the services for one principal. */
export interface Clients {
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly compute: RpcClient<typeof ComputeServiceDefinition>;
  readonly messaging: (service: Workload) => RpcClient<typeof MessagingServiceDefinition>;
  /** Bearer tokens, for a call that needs one in its request. */
  readonly tokens: TokenSource;
}

/** Ways into a running cloud from outside. */
export interface Outside {
  as(credentials: Credentials): Clients;
  /** A caller without a token. */
  readonly anonymous: Clients;
  readonly administrator: Clients;
  close(): void;
}

/** What clients from outside need to know about a cloud. */
export type OutsideOf = Pick<LocalCloud, 'addresses' | 'administrator' | 'authorityFile' | 'client'>;

/** The authority to trust there, and the certificate to present if one is required. */
export const tlsInto = ({ authorityFile, client }: Pick<OutsideOf, 'authorityFile' | 'client'>): ClientTls => ({
  ca: readFileSync(authorityFile, 'utf8'),
  ...(client === undefined
    ? {}
    : { certificate: readFileSync(client.certificateFile, 'utf8'), key: readFileSync(client.keyFile, 'utf8') }),
});

/** Options of clients from outside. */
export interface OutsideOptions {
  readonly tracer?: Tracer;
  /** Deadline of calls without their own, in milliseconds; by default that of the client. */
  readonly deadlineMs?: number;
}

/**
 * For clients of a test: they wait as long as a service works on a call. With the default of 10 s the speed of the machine would decide
 * whether a test passes.
 */
export const patient: OutsideOptions = { deadlineMs: CALL_MAX_MS };

/** Opens clients of a local cloud over TLS, as its users do. */
export const openOutside = (
  cloud: OutsideOf,
  { tracer = trace.getTracer('outside'), deadlineMs }: OutsideOptions = {},
): Outside => {
  const tls = tlsInto(cloud);
  const channels = new Map<Workload, Channel>();
  const channelTo = (service: Workload): Channel => {
    const channel = channels.get(service) ?? openChannel({ address: cloud.addresses[service], tls });
    channels.set(service, channel);
    return channel;
  };
  const client = <D extends Definition>(service: Workload, definition: D, credentials: TokenSource | undefined) =>
    connect({
      channel: channelTo(service),
      definition,
      credentials,
      audience: `interlock:${service}`,
      clock: systemClock,
      random: systemRandom,
      tracer,
      ...(deadlineMs === undefined ? {} : { defaultDeadlineMs: deadlineMs }),
    });
  const noToken: TokenSource = {
    token: async () => Promise.reject(new Error('an anonymous caller has no token')),
    refused: () => {},
  };
  const clients = (credentials: TokenSource | undefined): Clients => ({
    identity: client('identity', IdentityServiceDefinition, credentials),
    keyVault: client('key-vault', KeyVaultServiceDefinition, credentials),
    sets: client('disk-encryption-set', DiskEncryptionSetServiceDefinition, credentials),
    disks: client('disk', DiskServiceDefinition, credentials),
    compute: client('compute', ComputeServiceDefinition, credentials),
    messaging: (service) => client(service, MessagingServiceDefinition, credentials),
    tokens: credentials ?? noToken,
  });
  const anonymous = clients(undefined);
  const as = ({ id, secret }: Credentials): Clients =>
    clients(
      tokenSource({
        clock: systemClock,
        issue: async (audience) => {
          const { accessToken, expireTime } = await anonymous.identity.issueToken({
            clientId: id,
            clientSecret: secret,
            audience,
          });
          if (!expireTime) throw new Error('identity issued a token without an end');
          return { token: accessToken, expireTime: expireTime.getTime() };
        },
      }),
    );
  const { principalId, secret } = cloud.administrator;
  return {
    as,
    anonymous,
    administrator: as({ id: principalId, secret }),
    close: () => {
      for (const channel of channels.values()) channel.close();
    },
  };
};
