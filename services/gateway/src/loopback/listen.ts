import { type Logger, type Scope, variableOf } from '@interlock/runtime';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { CloudNames } from '../cloud/names.ts';
import { addressOf, listenOptions } from '../http/listen.ts';
import { type IdentityReply, identityPaths, type managedIdentity } from './managed-identity.ts';
import { tunnel } from './proxy.ts';

/** What the loopback server needs. */
export interface LoopbackParts {
  readonly names: CloudNames;
  /** host:port to listen on. */
  readonly address: string;
  /** Whether the address need not be one of loopback: a container publishes its port there. */
  readonly isPublished: boolean;
  /** Whether other processes listen there too. */
  readonly isShared: boolean;
  /** host:port that the gateway listens on. */
  readonly gatewayAddress: string;
  /** Absent: there is no managed identity endpoint. */
  readonly tokens: ReturnType<typeof managedIdentity> | undefined;
  readonly scope: Scope;
  readonly log: Logger;
}

/** Most connections at once. */
const connectionsMax = 1_000;

/**
 * Serves plain HTTP on a loopback address until the scope closes: the managed identity endpoint, and `CONNECT` to the gateway's names.
 * @throws Error for an address that other machines reach: tokens would cross the network in plain text
 */
export const serveLoopback = async (parts: LoopbackParts): Promise<void> => {
  const { names, scope, gatewayAddress } = parts;
  const { host, port } = addressOf(parts.address, variableOf('gatewayLoopbackAddress'));
  if (!parts.isPublished && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw new Error(`GATEWAY_LOOPBACK_ADDRESS must be on 127.0.0.1, [::1] or localhost (got "${parts.address}")`);
  }
  const gateway = addressOf(gatewayAddress, variableOf('gatewayAddress'));
  const server = buildLoopback(parts);
  const tunnels = new Set<{ destroy(): unknown }>();
  server.server.maxConnections = connectionsMax;
  server.server.on('connect', (request, client, head) => {
    tunnels.add(client);
    client.once('close', () => tunnels.delete(client));
    // The gateway listens on every address of this machine, or on the one that is named.
    const to = { ...gateway, host: gateway.host === '0.0.0.0' || gateway.host === '::' ? 'localhost' : gateway.host };
    tunnel(names, to, { target: request.url ?? '', client, head });
  });
  scope.defer('loopback server', async () => {
    for (const one of tunnels) one.destroy();
    await server.close();
  });
  await server.listen(listenOptions({ host, port }, parts.isShared));
};

const buildLoopback = ({ tokens, log }: LoopbackParts): FastifyInstance => {
  const server = Fastify({
    logger: false,
    bodyLimit: 1_024,
    forceCloseConnections: true,
    routerOptions: {
      ignoreTrailingSlash: true,
      querystringParser: (text) => Object.fromEntries(new URLSearchParams(text)),
    },
  });
  const notServed: IdentityReply = {
    status: 400,
    body: {
      error: 'invalid_request',
      error_description: `The managed identity endpoint serves GET ${identityPaths.imds} and ${identityPaths.appService}; the proxy serves CONNECT.`,
    },
  };
  server.setNotFoundHandler((_request, reply) => reply.code(notServed.status).send(notServed.body));
  server.setErrorHandler((error, _request, reply) => {
    log.error('request of the loopback server failed', { error });
    return reply
      .code(500)
      .send({ error: 'internal_error', error_description: 'internal error; its cause is in the log' });
  });
  if (tokens === undefined) return server;
  for (const form of ['imds', 'appService'] as const) {
    server.get(identityPaths[form], async (request: FastifyRequest, reply) => {
      const { status, body } = await tokens(form, {
        query: request.query as Readonly<Record<string, string>>,
        headers: request.headers,
      });
      return reply.code(status).header('cache-control', 'no-store').send(body);
    });
  }
  return server;
};
