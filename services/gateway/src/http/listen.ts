import type { Clock, Scope } from '@interlock/runtime';
import { renewedFiles, variableOf } from '@interlock/runtime';
import type { FastifyInstance } from 'fastify';
import { listenOnIpv6Loopback } from './connections.ts';
import type { Dispatch } from './dispatch.ts';
import { buildServer, type ServerLimits, type ServerParts } from './server.ts';

/** Settings of the server. */
interface ListenSettings {
  readonly gatewayAddress: string;
  readonly gatewaySharesAddress: boolean;
  readonly gatewayCertificateFile: string;
  readonly gatewayKeyFile: string;
  readonly tlsReloadIntervalMs: number;
  readonly gatewayRequestMs: number;
  readonly gatewayConnectionsMax: number;
  readonly gatewayConnectionsOfAddressMax: number;
  readonly gatewayBodiesBytesMax: number;
}

/** A connection without a request is closed after this time, in milliseconds: longer than load balancers keep theirs (60 s). */
export const idleMs = 72_000;

const limitsOf = (config: ListenSettings): ServerLimits => ({
  requestMs: config.gatewayRequestMs,
  idleMs,
  connectionsMax: config.gatewayConnectionsMax,
  connectionsOfAddressMax: config.gatewayConnectionsOfAddressMax,
  bodiesBytesMax: config.gatewayBodiesBytesMax,
});

/** Splits `host:port`. @param setting for the error @throws Error for a text of another form */
export const addressOf = (text: string, setting: string): { readonly host: string; readonly port: number } => {
  const [, host, port] = /^(.*):(\d+)$/.exec(text) ?? [];
  if (host === undefined) throw new Error(`${setting} must be host:port (got "${text}")`);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
};

/** What a server needs to listen. */
interface ListenParts {
  readonly scope: Scope;
  readonly clock: Pick<Clock, 'alarm'>;
  /** The setting that has the address, for the error. */
  readonly variable: string;
  /** Whether other processes listen there too (`SO_REUSEPORT`). */
  readonly isShared: boolean;
}

/** How long requests may take to end when the server stops, in milliseconds: the process has 10 s. */
const stopGraceMs = 8_000;

/**
 * Listens until the scope closes; on `localhost` at 127.0.0.1 and ::1. Fastify's own way for both makes a second server without the
 * limits and renewals of the first.
 * @throws Error if the address is in use
 */
export const listenOn = async (
  server: FastifyInstance,
  { host, port }: ReturnType<typeof addressOf>,
  { scope, clock, variable, isShared }: ListenParts,
): Promise<void> => {
  const isLocal = host === 'localhost';
  let closeSecond: (() => Promise<void>) | undefined;
  scope.defer(`server of ${variable}`, async () => {
    const force = clock.alarm(stopGraceMs, () => server.server.closeAllConnections());
    await Promise.all([closeSecond?.(), server.close()]);
    force.cancel();
  });
  try {
    // Fastify's type does not know `reusePort`, and passes it to Node.
    const options = { port, reusePort: isShared };
    await server.listen({ ...options, ...{ host: isLocal ? '127.0.0.1' : host } });
    if (isLocal) closeSecond = await listenOnIpv6Loopback(server.server, options);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    throw new Error(`${variable}: another program listens on port ${port} of ${host}. Stop it, or set another port.`, {
      cause: error,
    });
  }
};

/** Serves until the scope closes; a renewed certificate counts for new connections. @returns host:port */
export const serveHttps = async (
  parts: Omit<ServerParts, 'tls' | 'limits' | 'clock'> & {
    readonly config: ListenSettings;
    readonly dispatch: Dispatch;
    readonly scope: Scope;
    readonly clock: Parameters<typeof renewedFiles>[0]['clock'] & ServerParts['clock'];
  },
): Promise<string> => {
  const { config, scope, clock, log } = parts;
  const { gatewayCertificateFile: certificate, gatewayKeyFile: key } = config;
  const tls = await renewedFiles({
    what: 'certificate of the gateway',
    files: [certificate, key],
    clock,
    log,
    intervalMs: config.tlsReloadIntervalMs,
    parse: (textOf) => ({ cert: textOf(certificate), key: textOf(key) }),
    describe: () => ({}),
  });
  scope.defer('certificate of the gateway', () => tls.close());
  const server = await buildServer({ ...parts, limits: limitsOf(config), tls: tls.current() });
  parts.dispatch.attach(server);
  tls.onRenewal(() => {
    if ('setSecureContext' in server.server && typeof server.server.setSecureContext === 'function') {
      server.server.setSecureContext(tls.current());
    }
  });
  const variable = variableOf('gatewayAddress');
  const address = addressOf(config.gatewayAddress, variable);
  await listenOn(server, address, { scope, clock, variable, isShared: config.gatewaySharesAddress });
  return config.gatewayAddress;
};
