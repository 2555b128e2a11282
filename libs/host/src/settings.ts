import { natsSpec } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import { int, oneOf, optional, renewedFile, runSpec, secretFile, telemetrySpec, text, url } from '@interlock/runtime';
import { shareTtlDefaultMs } from './shares/shares.ts';

/** The setting of services whose host has a folder of its own; see `enterHostFolder`. */
export const hostFolderSpec = {
  lostFolderId: optional(
    text('Id of a host folder that is lost for good; the folder of this process becomes the host folder in its place'),
  ),
} as const;

/** Every service of the system. */
export const workloads: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** The settings every service has; its own are added in its `main.ts`. */
export const hostSpec = {
  ...telemetrySpec,
  ...runSpec,
  serviceAddress: text('host:port to serve on; port 0 takes a free one'),
  probeAddress: optional(text('host:port of the probes of a kubelet, plain HTTP: /startupz, /livez, /readyz')),
  replicaName: optional(
    text(
      'Name of this replica, of its own among those of the service; by default HOSTNAME, which is another in each pod',
    ),
  ),
  standbyName: optional(
    text(
      'Name of this process while it stands by for another of the same REPLICA_NAME; by default one of its own each time',
    ),
  ),
  shareTtlMs: int('How long after the last word of a replica the others do its share of the work', {
    min: 500,
    default: shareTtlDefaultMs,
  }),
  startPatienceMs: int('How long a start waits for a store that cannot be reached yet', { min: 0, default: 0 }),
  identityAddress: text('host:port of identity'),
  keyVaultAddress: text('host:port of key-vault'),
  diskEncryptionSetAddress: text('host:port of disk-encryption-set'),
  diskAddress: text('host:port of disk'),
  computeAddress: text('host:port of compute'),
  databaseUrl: url('Postgres 17 database of this service alone'),
  databaseCaFile: optional(
    renewedFile(
      'PEM file with the authorities of the Postgres server; with it connections are TLS, sslmode=verify-full',
    ),
  ),
  ...natsSpec,
  partitionCount: int('In how many partitions facts are told; the same in every service, and never changed', {
    min: 1,
    max: 256,
    default: 4,
  }),
  transport: oneOf('TLS, or plain text where something else secures the network', ['tls', 'plaintext'], {
    default: 'tls',
  }),
  tlsCertificateFile: optional(renewedFile('PEM file with the certificate of this service')),
  tlsKeyFile: optional(renewedFile('PEM file with its private key')),
  tlsCaFile: optional(renewedFile('PEM file with the authorities that signed the certificates of all services')),
  tlsClientCaFile: optional(
    renewedFile('PEM file with the authorities of callers; with it each has to show a certificate (mutual TLS)'),
  ),
  tlsReloadIntervalMs: int('How often these files, and DATABASE_CA_FILE, are read again', { min: 50, default: 10_000 }),
  rpcBalancing: oneOf(
    'Which address of a service is called, where its name has several',
    ['pick_first', 'round_robin'],
    {
      default: 'pick_first',
    },
  ),
  workloadId: text('UUID of the principal of this service'),
  workloadSecretFile: secretFile('File with the secret of that principal'),
  tokenIssuer: text('`iss` of the tokens identity issues', { default: 'https://identity.interlock' }),
  authzTtlMs: int('How long an answer of identity about permissions is used', { min: 100, default: 5_000 }),
  storeConnections: int('Most connections to Postgres', { min: 2, max: 100, default: 8 }),
} as const;
