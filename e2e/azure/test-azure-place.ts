import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientSecretCredential } from '@azure/identity';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { memoryStore } from '@interlock/event-store';
import { makeAuthority, makeServer, pemOf } from '@interlock/local/certificates.ts';
import { freePort } from '@interlock/local/free-port.ts';
import { systemClock as clock, createScope, logger, systemRandom as random, type Scope } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createNoopMeter, trace } from '@opentelemetry/api';
import { assemble } from '../../services/gateway/src/assemble.ts';
import type { Backends } from '../../services/gateway/src/cloud/backends.ts';
import { type CloudNames, cloudNamesOf } from '../../services/gateway/src/cloud/names.ts';
import { serveHttps } from '../../services/gateway/src/http/listen.ts';
import { clientAddressKey, openPlace, type Place } from '../truth-table/place.ts';
import { credentialOf, trust } from './test-azure-cloud.ts';

/** The gateway over five services, all in this process: for tests of requests, without processes. */
export interface AzurePlace {
  readonly place: Place;
  readonly url: string;
  readonly names: CloudNames;
  readonly subscription: string;
  readonly tenant: string;
  /** The authority of its certificate, in PEM. */
  readonly authority: string;
  /** Of the administrator. */
  readonly credential: ClientSecretCredential;
  /** URL of a vault for a client. */
  vaultUrl(vault: string): string;
  /** Lines that the gateway logged as errors. */
  readonly errors: readonly string[];
  close(): Promise<void>;
}

/** Id of the tenant for the services of the place. */
export const innerTenant = 'main';
/** The UUIDs that clients use for the tenant and its subscription. */
const [tenant, subscription] = ['11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222'];

/** Opens it on the servers of `DATABASE_URL` and `NATS_URL`. */
export const azurePlace = async (): Promise<AzurePlace> => {
  const scope = createScope();
  try {
    return await open(scope);
  } catch (error) {
    await scope.close();
    throw error;
  }
};

const open = async (scope: Scope): Promise<AzurePlace> => {
  const place = await openPlace();
  scope.defer('place', () => place.close());
  const port = await freePort();
  const url = `https://localhost:${port}`;
  const names = cloudNamesOf({
    gatewayUrl: url,
    gatewayVaultSuffix: `vault.interlock.localhost:${port}`,
    vaultUriSuffix: 'vault.test',
    gatewayTenants: `${tenant}=${innerTenant}`,
    gatewaySubscriptions: `${subscription}=s1`,
    gatewayTenant: innerTenant,
  });
  const errors: string[] = [];
  const write = (line: string): void => {
    if (line.includes('error')) errors.push(line);
  };
  const log = logger({ service: 'gateway', clock, write });
  const store = memoryStore({ clock });
  const parts = { store, names, masterKey: masterKey(random.bytes(32)), clock, random, log, scope };
  const gateway = await assemble({
    ...parts,
    backends: backendsOf(place),
    tokenLifetimeMs: 3_600_000,
    testing: { enabled: new Set(), launcher: undefined },
    failuresPerSecond: 1_000,
    clientAddressKey,
    holdMs: 2_000,
  });
  const { config, authority } = await certificateFiles(scope, port);
  await serveHttps({ ...gateway, ...parts, config, tracer: trace.getTracer('test'), meter: createNoopMeter() });
  trust(authority);
  const { id, secret } = place.credentials;
  const credential = credentialOf({ url, tenant }, { id, secret });
  const vaultUrl = (vault: string): string => `https://${vault}.${names.vaultSuffix}`;
  const close = (): Promise<void> => scope.close();
  return { place, url, names, subscription, tenant, authority, credential, vaultUrl, errors, close };
};

/** Each call of the gateway has the token of its caller. Calls that need none use the administrator's. */
const backendsOf = ({ cloud, credentials }: Place): Backends => {
  const { client } = cloud.as(credentials);
  return {
    identity: client('identity', IdentityServiceDefinition),
    keyVault: client('key-vault', KeyVaultServiceDefinition),
    keyVaultEvents: client('key-vault', MessagingServiceDefinition),
    sets: client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    disks: client('disk', DiskServiceDefinition),
    compute: client('compute', ComputeServiceDefinition),
    diskDataAt: () => client('disk', DiskDataServiceDefinition),
  };
};

const certificateFiles = async (scope: Scope, port: number) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-gateway-'));
  scope.defer('certificate files', () => rmSync(folder, { recursive: true, force: true }));
  const pair = await makeAuthority(clock.now());
  const dns = ['localhost', '*.vault.interlock.localhost'];
  const server = await pemOf(await makeServer(pair, clock.now(), { dns, ip: ['127.0.0.1', '::1'] }));
  const [gatewayCertificateFile, gatewayKeyFile] = [join(folder, 'gateway.pem'), join(folder, 'gateway.key')];
  writeFileSync(gatewayCertificateFile, server.certificate);
  writeFileSync(gatewayKeyFile, server.key, { mode: 0o600 });
  const config = {
    gatewayAddress: `localhost:${port}`,
    gatewaySharesAddress: false,
    gatewayCertificateFile,
    gatewayKeyFile,
    tlsReloadIntervalMs: 60_000,
    gatewayRequestMs: 30_000,
    gatewayConnectionsMax: 2_000,
    gatewayConnectionsOfAddressMax: 500,
    gatewayBodiesBytesMax: 32 * 1024 * 1024,
  };
  return { config, authority: (await pemOf(pair)).certificate };
};
