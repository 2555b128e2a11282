import type { ConfigOf, Scope } from '@interlock/runtime';
import { renewedFiles, variableOf } from '@interlock/runtime';
import type { gatewaySpec } from '../settings.ts';
import type { Dispatch } from './dispatch.ts';
import { buildServer, type ServerParts } from './server.ts';

type ListenSettings = Pick<
  ConfigOf<typeof gatewaySpec>,
  'gatewayAddress' | 'gatewaySharesAddress' | 'gatewayCertificateFile' | 'gatewayKeyFile' | 'tlsReloadIntervalMs'
>;

/** Splits `host:port`. @param setting for the error @throws Error for a text of another form */
export const addressOf = (text: string, setting: string): { readonly host: string; readonly port: number } => {
  const [, host, port] = /^(.*):(\d+)$/.exec(text) ?? [];
  if (host === undefined) throw new Error(`${setting} must be host:port (got "${text}")`);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
};

/** Options of Node's `listen`, with `SO_REUSEPORT` for an address that other processes share. */
export const listenOptions = (
  address: ReturnType<typeof addressOf>,
  isShared: boolean,
): ReturnType<typeof addressOf> & { readonly reusePort: boolean } => ({ ...address, reusePort: isShared });

/** Serves until the scope closes; a renewed certificate counts for new connections. @returns host:port */
export const serveHttps = async (
  parts: Omit<ServerParts, 'tls'> & {
    readonly config: ListenSettings;
    readonly dispatch: Dispatch;
    readonly scope: Scope;
    readonly clock: Parameters<typeof renewedFiles>[0]['clock'];
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
  const server = await buildServer({ ...parts, tls: tls.current() });
  parts.dispatch.attach(server);
  tls.onRenewal(() => {
    if ('setSecureContext' in server.server && typeof server.server.setSecureContext === 'function') {
      server.server.setSecureContext(tls.current());
    }
  });
  const address = addressOf(config.gatewayAddress, variableOf('gatewayAddress'));
  scope.defer('server', () => server.close());
  await server.listen(listenOptions(address, config.gatewaySharesAddress));
  return config.gatewayAddress;
};
