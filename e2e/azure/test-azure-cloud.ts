import dns from 'node:dns';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { ClientSecretCredential } from '@azure/identity';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { freePort } from '@interlock/local/free-port.ts';
import { type GatewayAccess, startGateway } from '@interlock/local/gateway.ts';
import type { ServiceProcess } from '@interlock/local/processes.ts';
import { createScope } from '@interlock/runtime';
import { type TestCloud, testCloud, withoutTelemetry } from '../cloud/test-cloud.ts';

/** A local cloud with its gateway, and what an unmodified client of Azure needs to use it. */
export interface AzureCloud {
  readonly test: TestCloud;
  readonly access: GatewayAccess;
  /** Credential of the administrator, as a client creates it. */
  readonly credential: ClientSecretCredential;
  /** URL of a vault for a client. */
  vaultUrl(vault: string): string;
  /** Processes of the gateway. */
  readonly gateways: readonly ServiceProcess[];
  stop(): Promise<void>;
}

/** Starts both, by default `withoutTelemetry`. @param settings of the gateway @param services settings of the services */
export const azureCloud = async (
  settings: Readonly<Record<string, string>> = {},
  services: Readonly<Record<string, string>> = {},
  { replicas = 1, hasTestControls = false }: { readonly replicas?: number; readonly hasTestControls?: boolean } = {},
): Promise<AzureCloud> => {
  const port = await freePort();
  const test = await testCloud(
    { CLIENT_ASSERTION_AUDIENCE: `https://localhost:${port}`, ...services },
    1,
    hasTestControls,
  );
  const scope = createScope();
  const gateways: ServiceProcess[] = [];
  try {
    const access = await startGateway({
      cloud: test.cloud,
      data: openDataFolder(test.folder),
      env: process.env,
      port,
      replicas,
      testControls: test.testControls,
      onStart: (process) => gateways.push(process),
      name: `g${process.pid}`,
      temporary: true,
      settings: { ...withoutTelemetry, ...settings },
      within: scope,
    });
    trust(readFileSync(access.authorityFile, 'utf8'));
    return {
      test,
      access,
      credential: credentialOf(access, { id: access.clientId, secret: test.cloud.administrator.secret }),
      vaultUrl: (vault) => access.vaultUrlTemplate.replace('{vault}', vault),
      gateways,
      async stop() {
        await scope.close();
        await test.stop();
      },
    };
  } catch (error) {
    await scope.close();
    await test.stop();
    throw error;
  }
};

/** A client credential with the options from the documentation. */
export const credentialOf = (
  { url, tenant }: Pick<GatewayAccess, 'url' | 'tenant'>,
  { id, secret }: { readonly id: string; readonly secret: string },
): ClientSecretCredential =>
  new ClientSecretCredential(tenant, id, secret, { authorityHost: url, disableInstanceDiscovery: true });

/**
 * Does what a user does outside of the process with NODE_EXTRA_CA_CERTS and a resolver for `*.localhost`: trusts the authority,
 * and resolves the names of vaults to this machine. @param authority PEM
 */
export const trust = (authority: string): void => {
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), authority]);
  const { lookup } = dns;
  const local = (host: string): string => (host.endsWith('.vault.interlock.localhost') ? 'localhost' : host);
  dns.lookup = Object.assign(
    ((host: string, ...rest: unknown[]) => Reflect.apply(lookup, dns, [local(host), ...rest])) as typeof lookup,
    { __promisify__: lookup.__promisify__ },
  );
};
