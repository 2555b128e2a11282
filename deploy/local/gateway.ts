import { createHash, randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Scope, systemClock } from '@interlock/runtime';
import { openGatewayCertificate } from './certificates.ts';
import type { TestControls } from './control/controls-for-tests.ts';
import { type DataFolder, LauncherError } from './data-folder.ts';
import { freePort } from './free-port.ts';
import type { LocalCloud } from './local-cloud.ts';
import { type LoopbackIdentity, openLoopbackIdentity } from './loopback-identity.ts';
import { type ServiceProcess, startService } from './processes.ts';
import { type Crash, sayCrash } from './restartable.ts';
import { addressVariableOf, gatewayEntry, serviceNames } from './services.ts';
import { exporterSettings } from './telemetry-exporters.ts';

/** Host names of vaults end in this. */
const vaultDomain = 'vault.interlock.localhost';

/** Where the gateway of a cloud listens. */
export interface GatewayPlace {
  /** Of the gateway: URLs of keys contain it. */
  readonly port: number;
  /** The port of its loopback server: managed identity endpoint and proxy. */
  readonly loopbackPort: number;
  /** `localhost`; in a container `0.0.0.0`, and the container's ports are published on a loopback address. */
  readonly host: string;
}

/**
 * Where the gateway of `npm run up -- --azure` listens: 8443 and 8442 of this machine, unless `INTERLOCK_GATEWAY_PORT`,
 * `INTERLOCK_LOOPBACK_PORT` and `INTERLOCK_GATEWAY_HOST` name others.
 * @throws LauncherError for an invalid port
 */
export const gatewayPlaceIn = (env: Readonly<Record<string, string | undefined>>): GatewayPlace => {
  const portOf = (name: string, text: string | undefined, standard: number): number => {
    const port = Number(text || standard);
    if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
    throw new LauncherError(`${name} must be a port from 1 to 65535 (got "${text}").`);
  };
  return {
    port: portOf('INTERLOCK_GATEWAY_PORT', env.INTERLOCK_GATEWAY_PORT, 8_443),
    loopbackPort: portOf('INTERLOCK_LOOPBACK_PORT', env.INTERLOCK_LOOPBACK_PORT, 8_442),
    host: env.INTERLOCK_GATEWAY_HOST || 'localhost',
  };
};

/** What Azure's clients need to reach a local cloud; in `gateway.json` of the data folder while the gateway runs. */
export interface GatewayAccess {
  readonly url: string;
  /** URL of a vault, with `{vault}` for its name. */
  readonly vaultUrlTemplate: string;
  /** UUIDs for the ids of the cloud. */
  readonly tenant: string;
  readonly subscription: string;
  readonly clientId: string;
  /** PEM file of the authority that signed the certificate. */
  readonly authorityFile: string;
  /** Managed identity endpoint, and proxy for clients that cannot resolve the names of vaults. */
  readonly loopbackUrl: string;
  /** UUID of the principal whose tokens the managed identity endpoint returns. */
  readonly loopbackClientId: string;
  /** The value that `X-IDENTITY-HEADER` must have there. */
  readonly identityHeader: string;
}

/** How the gateway is started. */
export interface GatewayOptions {
  readonly cloud: LocalCloud;
  readonly data: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Processes of the gateway, all on one port; default 1. */
  readonly replicas?: number;
  /** Default: a free port. */
  readonly port?: number;
  /** Default: a free port. */
  readonly loopbackPort?: number;
  /** Default: `localhost`. */
  readonly host?: string;
  /** Whether the managed identity endpoint speaks for the administrator; default: for an identity of its own, without a role. */
  readonly isLoopbackAdministrator?: boolean;
  /** Prefix of its database. */
  readonly name?: string;
  /** Drops the database when it stops. */
  readonly temporary?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
  /** Allows the clients of the gateway to use test controls. */
  readonly testControls?: TestControls | undefined;
  readonly within: Scope;
  readonly say?: (line: string) => void;
  readonly onCrash?: (crash: Crash) => void;
  /** Called with each process once it serves. */
  readonly onStart?: (process: ServiceProcess) => void;
}

/** Starts the gateway of a running cloud; it stops with the scope. */
export const startGateway = async (options: GatewayOptions): Promise<GatewayAccess> => {
  const { cloud, data, name = 'interlock', within, replicas = 1 } = options;
  const port = options.port ?? (await freePort());
  const { administrator } = cloud;
  const identity =
    options.isLoopbackAdministrator === true
      ? { principalId: administrator.principalId, file: data.path('administrator.json') }
      : await openLoopbackIdentity(cloud, data);
  const access = accessOf(cloud, port, options.loopbackPort ?? (await freePort()), identity);
  const database = `${name}_gateway`;
  await cloud.postgres.createDatabases([database]);
  if (options.temporary === true)
    within.defer('database of the gateway', () => cloud.postgres.dropDatabases([database]));
  const env = {
    ...options.env,
    ...(await settingsOf(options, access, port)),
    GATEWAY_IDENTITY_FILE: identity.file,
    DATABASE_URL: cloud.postgres.shortUrl(database),
    GATEWAY_SHARES_ADDRESS: String(replicas > 1),
    ...(options.testControls && testSettings(options.testControls, data)),
    ...options.settings,
  };
  // One after the other, because the first creates the master key.
  for (let replica = 0; replica < replicas; replica++) await startReplica(options, access, { env, replica });
  const file = data.path('gateway.json');
  writeFileSync(file, `${JSON.stringify(access, undefined, 2)}\n`, { mode: 0o600 });
  within.defer('gateway.json', () => rmSync(file, { force: true }));
  return access;
};

/** Settings of a gateway whose clients may use all test controls. */
const testSettings = ({ settings }: TestControls, data: DataFolder): Readonly<Record<string, string>> => ({
  ...settings,
  GATEWAY_TEST_ROUTES: 'clock,estate,faults',
  GATEWAY_CONTROL_SOCKET: JSON.parse(readFileSync(data.path('cloud.json'), 'utf8')).control,
});

/**
 * The heap that it has in its container: half of 512 MiB (deploy/kubernetes/base/gateway.yaml). With more, V8 collects the garbage of
 * large requests late, and a fuzz measures that instead of what requests hold.
 */
const heapOfContainer = ['--max-old-space-size=256'];

const startReplica = async (
  { data, within, say = () => undefined, onCrash = sayCrash, onStart }: GatewayOptions,
  { url }: GatewayAccess,
  { env, replica }: { readonly env: GatewayOptions['env']; readonly replica: number },
): Promise<void> => {
  const name = replica === 0 ? 'gateway' : `gateway-${replica}`;
  const since = performance.now();
  const process = await startService({
    name,
    entry: gatewayEntry,
    nodeOptions: heapOfContainer,
    env,
    logFile: data.path('logs', `${name}.log`),
    onCrash: (crash) =>
      onCrash({
        ...crash,
        restart: async () => {
          await process.restart();
          return process.pid;
        },
      }),
  });
  within.defer(name, () => process.stop());
  onStart?.(process);
  say(`${name} serves on ${url} (process ${process.pid}, ${Math.round(performance.now() - since)} ms)`);
};

const accessOf = (
  { administrator, authorityFile }: LocalCloud,
  port: number,
  loopback: number,
  { principalId }: LoopbackIdentity,
): GatewayAccess => ({
  url: `https://localhost:${port}`,
  vaultUrlTemplate: `https://{vault}.${vaultDomain}:${port}`,
  tenant: uuidFor(administrator.tenant),
  subscription: uuidFor(administrator.subscription),
  clientId: administrator.principalId,
  authorityFile,
  loopbackUrl: `http://127.0.0.1:${loopback}`,
  loopbackClientId: principalId,
  identityHeader: randomUUID(),
});

const settingsOf = async (
  { cloud, data, env, host = 'localhost' }: GatewayOptions,
  { url, tenant, subscription, loopbackUrl, identityHeader }: GatewayAccess,
  port: number,
): Promise<Readonly<Record<string, string>>> => {
  const now = systemClock.now();
  const { certificateFile, keyFile } = await openGatewayCertificate(data, now, `*.${vaultDomain}`);
  data.folder('services', 'gateway');
  const { administrator, addresses, authorityFile } = cloud;
  const [tenantId, subscriptionId] = [idOf(administrator.tenant), idOf(administrator.subscription)];
  return {
    GATEWAY_ADDRESS: `${host}:${port}`,
    GATEWAY_URL: url,
    GATEWAY_VAULT_SUFFIX: `${vaultDomain}:${port}`,
    GATEWAY_CERTIFICATE_FILE: certificateFile,
    GATEWAY_KEY_FILE: keyFile,
    GATEWAY_TENANTS: `${tenant}=${tenantId}`,
    GATEWAY_SUBSCRIPTIONS: `${subscription}=${subscriptionId}`,
    GATEWAY_TENANT: tenantId,
    GATEWAY_LOOPBACK_ADDRESS: `${host === 'localhost' ? '127.0.0.1' : host}:${new URL(loopbackUrl).port}`,
    GATEWAY_LOOPBACK_PUBLISHED: String(host !== 'localhost'),
    GATEWAY_IDENTITY_HEADER: identityHeader,
    MASTER_KEY_FILE: data.path('services', 'gateway', 'master-key'),
    CLIENT_ADDRESS_KEY: cloud.clientAddressKey,
    TLS_CERTIFICATE_FILE: certificateFile,
    TLS_KEY_FILE: keyFile,
    TLS_CA_FILE: authorityFile,
    ...exporterSettings(env, cloud.spansEndpoint, false),
    ...Object.fromEntries(serviceNames.map((service) => [addressVariableOf(service), addresses[service]])),
  };
};

const idOf = (name: string): string => name.replace(/^[^/]*\//, '');

/** Always the same UUID for a name, because tools accept only UUIDs as tenants and subscriptions. */
const uuidFor = (name: string): string => {
  const hex = createHash('sha256').update(`interlock ${name}`).digest('hex');
  // Version 8, variant 1 (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/** The lines that a user pastes into a terminal to use a client of Azure. The secret stays in its file. */
export const linesToPaste = ({
  url,
  tenant,
  subscription,
  clientId,
  authorityFile,
  loopbackUrl,
  loopbackClientId,
}: GatewayAccess): string => `
The gateway serves the public cloud's clients on ${url}. In another terminal:

  export REQUESTS_CA_BUNDLE=${authorityFile} NODE_EXTRA_CA_CERTS=${authorityFile}
  export AZURE_CONFIG_DIR=$HOME/.azure-interlock AZURE_CORE_INSTANCE_DISCOVERY=false AZURE_CORE_COLLECT_TELEMETRY=false
  export HTTPS_PROXY=${loopbackUrl}    # resolves the host names of vaults; it connects to nothing else
  az cloud register -n Interlock --endpoint-resource-manager ${url} || az cloud update -n Interlock --endpoint-resource-manager ${url}
  az cloud set -n Interlock
  az login --service-principal -u ${clientId} --tenant ${tenant} \\
    -p "$(node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).secret' ${join(dirname(authorityFile), '..', 'administrator.json')})"

${
  loopbackClientId === clientId
    ? `Every process of this machine gets tokens of the administrator from ${loopbackUrl} (--loopback-admin).`
    : `Processes get tokens of an identity without a role from ${loopbackUrl}. To give it one:

  az role assignment create --role Contributor --scope /subscriptions/${subscription} \\
    --assignee-object-id ${loopbackClientId} --assignee-principal-type ServicePrincipal`
}

Subscription ${subscription}. docs/how-to/use-azure-clients.md says how names of vaults (*.${vaultDomain}) resolve without a proxy.`;
