import { natsSpec } from '@interlock/messaging';
import type { Workload } from '@interlock/rpc';
import { int, oneOf, optional, renewedFile, runSpec, secretFile, telemetrySpec, text, url } from '@interlock/runtime';
import { HEARTBEAT_TTL_DEFAULT_MS } from './partitions/work-partitions.ts';

/** Setting of services whose host has a folder; see `enterHostFolder`. */
export const hostFolderSpec = {
  lostFolderId: optional(text('Id of a lost host folder that this folder replaces')),
} as const;

/** Every service of the system. */
export const workloads: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** Settings of every process, also of one without a store and without the bus. */
export const processSpec = {
  ...telemetrySpec,
  ...runSpec,
  serviceAddress: text('host:port to serve on; port 0: any free port'),
  probeAddress: optional(text('host:port of the probes, over HTTP: /startupz, /livez, /readyz')),
  identityAddress: text('host:port of identity'),
  keyVaultAddress: text('host:port of key-vault'),
  diskEncryptionSetAddress: text('host:port of disk-encryption-set'),
  diskAddress: text('host:port of disk'),
  computeAddress: text('host:port of compute'),
  transport: oneOf('TLS, or plain text on a network that is secured otherwise', ['tls', 'plaintext'], {
    default: 'tls',
  }),
  tlsCertificateFile: optional(renewedFile('PEM file with the certificate of this service')),
  tlsKeyFile: optional(renewedFile('PEM file with its private key')),
  tlsCaFile: optional(renewedFile("PEM file with the authorities of the services' certificates")),
  tlsClientCaFile: optional(renewedFile('PEM file with the authorities of callers; turns mutual TLS on')),
  tlsReloadIntervalMs: int('Interval of reloads of these files and DATABASE_CA_FILE', { min: 50, default: 10_000 }),
  rpcBalancing: oneOf('How to choose between several addresses of a service', ['pick_first', 'round_robin'], {
    default: 'pick_first',
  }),
  workloadId: text('UUID of the principal of this service'),
  workloadSecretFile: secretFile('File with the secret of that principal'),
  tokenIssuer: text('`iss` of the tokens identity issues', { default: 'https://identity.interlock' }),
  authzTtlMs: int('How long permissions from identity are cached', { min: 100, default: 5_000 }),
} as const;

/** Settings of every service; its `main.ts` adds its own. */
export const hostSpec = {
  ...processSpec,
  replicaName: optional(text('Unique name of this replica; default: HOSTNAME')),
  shareTtlMs: int('Time without a sign of a replica after which the others take over its work partition', {
    min: 500,
    default: HEARTBEAT_TTL_DEFAULT_MS,
  }),
  startPatienceMs: int('Longest wait for the store at the start', { min: 0, default: 0 }),
  databaseUrl: url('Postgres 17 database, used by this service only'),
  databaseCaFile: optional(
    renewedFile('PEM file with the authorities of the Postgres server; turns TLS on (sslmode=verify-full)'),
  ),
  ...natsSpec,
  partitionCount: int('Partitions of facts; the same in every service, never changed', {
    min: 1,
    max: 256,
    default: 4,
  }),
  storeConnections: int('Most connections to Postgres', { min: 2, max: 100, default: 8 }),
} as const;
