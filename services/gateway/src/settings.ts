import { hostSpec } from '@interlock/host';
import { bool, int, optional, secret, secretFile, text, url } from '@interlock/runtime';

const {
  identityAddress,
  keyVaultAddress,
  diskEncryptionSetAddress,
  diskAddress,
  computeAddress,
  databaseUrl,
  databaseCaFile,
  transport,
  tlsCertificateFile,
  tlsKeyFile,
  tlsCaFile,
  tlsClientCaFile,
  tlsReloadIntervalMs,
  rpcBalancing,
  storeConnections,
  startPatienceMs,
  probeAddress,
} = hostSpec;

/** Settings of the gateway, in addition to those of telemetry and of the process. */
export const gatewaySpec = {
  gatewayAddress: text('host:port to serve HTTPS on; `localhost` listens on 127.0.0.1 and ::1'),
  gatewaySharesAddress: bool(
    'Whether several gateways of one machine listen on GATEWAY_ADDRESS and GATEWAY_LOOPBACK_ADDRESS: the kernel distributes connections (SO_REUSEPORT)',
    { default: false },
  ),
  gatewayUrl: url('URL of the gateway for clients: authority, management endpoint and management audience'),
  gatewayCertificateFile: text(
    'PEM file with the certificate for the host of GATEWAY_URL and for *.<GATEWAY_VAULT_SUFFIX>',
  ),
  gatewayKeyFile: text('PEM file with its private key'),
  gatewayVaultSuffix: text('Host and port behind the name of a vault, for clients', {
    default: 'vault.interlock.localhost:8443',
  }),
  vaultUriSuffix: text('VAULT_URI_SUFFIX of key-vault: the suffix in its key URLs', {
    default: 'vault.interlock.localhost',
  }),
  gatewayTenants: optional(text('UUIDs that clients use for tenants: <uuid>=<tenant>, separated by commas')),
  gatewaySubscriptions: optional(
    text('UUIDs that clients use for subscriptions: <uuid>=<subscription>, separated by commas'),
  ),
  gatewayTenant: text('Tenant that the challenge of a vault names'),
  gatewayLoopbackAddress: optional(
    text(
      'Loopback host:port for plain HTTP: managed identity endpoint, and proxy (CONNECT) to the names of the gateway and its vaults. Absent: neither',
    ),
  ),
  gatewayLoopbackPublished: bool(
    'Whether GATEWAY_LOOPBACK_ADDRESS may be any address: for a container that publishes the port on a loopback address only',
    { default: false },
  ),
  gatewayIdentityFile: optional(
    secretFile(
      'JSON file with `principalId` and `secret` of the principal that the managed identity endpoint speaks for. Absent: no such endpoint',
    ),
  ),
  gatewayIdentityHeader: optional(
    secret(
      'What X-IDENTITY-HEADER must be in the App Service form of the managed identity endpoint. Absent: that form is refused',
    ),
  ),
  clientAddressKey: optional(
    secret(
      'Secret text that key-vault has too: with it the gateway proves the addresses of its clients, for the network rules of vaults. Absent: they do not count',
    ),
  ),
  gatewayTokenLifetimeSeconds: int("Longest lifetime of tokens, in seconds; they also end with identity's tokens", {
    min: 1,
    default: 3_600,
  }),
  gatewayFailuresPerSecond: int('Failed sign-ins a second from one client address; above it the address waits', {
    min: 1,
    default: 5,
  }),
  gatewayRequestMs: int(
    'A request must arrive within this time, head and body together, and a client must read 1 MiB of its reply in it, or the rest',
    { min: 1_000, default: 30_000 },
  ),
  gatewayConnectionsMax: int('Most connections of one process; further ones are closed', { min: 1, default: 2_000 }),
  gatewayConnectionsOfAddressMax: int(
    'Most connections of one client address (IPv6: of one /64 network). Raise it if clients come through one proxy',
    { min: 1, default: 500 },
  ),
  gatewayBodiesBytesMax: int(
    'Most bytes of request bodies in memory, of all requests of one process. One principal, disk or address without a token gets a quarter, all addresses without a token together a half. Further requests wait up to 5 s, then get 429 or 503',
    // A quarter holds the largest body.
    { min: 16 * 1024 * 1024, default: 32 * 1024 * 1024 },
  ),
  gatewayHoldMs: int('A request waits for so long for its work; then the client polls for the end', {
    min: 1,
    default: 2_000,
  }),
  gatewayTestRoutes: optional(
    text('What clients may do to the cloud in a test: clock, estate, faults, separated by commas. Absent: nothing'),
  ),
  gatewayControlSocket: optional(
    text('Path of the control socket of the launcher of a local cloud, which moves clocks and injects faults'),
  ),
  masterKeyFile: text('File of 32 bytes that seals tokens and the signing key; created at the first start'),
  identityAddress,
  keyVaultAddress,
  diskEncryptionSetAddress,
  diskAddress,
  computeAddress,
  databaseUrl,
  databaseCaFile,
  transport,
  tlsCertificateFile,
  tlsKeyFile,
  tlsCaFile,
  tlsClientCaFile,
  tlsReloadIntervalMs,
  rpcBalancing,
  storeConnections,
  startPatienceMs,
  probeAddress,
} as const;
