import { type Clock, type Logger, type Scope, variableOf } from '@interlock/runtime';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { CloudNames } from '../cloud/names.ts';
import { limitConnections } from '../http/connections.ts';
import { addressOf, idleMs, listenOn } from '../http/listen.ts';
import { endUnreadReplies } from '../http/unread.ts';
import { isLoopbackHost } from './host.ts';
import { type IdentityReply, identityPaths, type managedIdentity } from './managed-identity.ts';
import { isOwnName, tunnel } from './proxy.ts';

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
  readonly clock: Clock;
}

/** Most connections at once: fewer than the gateway takes from one address, so that tunnels leave room for other clients. */
const connectionsMax = 400;
/** A request must arrive within this time, in milliseconds: it has no body. */
const requestMs = 10_000;

/**
 * Serves plain HTTP on a loopback address until the scope closes: the managed identity endpoint, and `CONNECT` to the gateway's names.
 * @throws Error for an address that other machines reach: tokens would cross the network in plain text
 */
export const serveLoopback = async (parts: LoopbackParts): Promise<void> => {
  const { scope } = parts;
  const variable = variableOf('gatewayLoopbackAddress');
  const { host, port } = addressOf(parts.address, variable);
  if (!parts.isPublished && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
    throw new Error(`GATEWAY_LOOPBACK_ADDRESS must be on 127.0.0.1, [::1] or localhost (got "${parts.address}")`);
  }
  const server = buildLoopback(parts);
  const endTunnels = serveTunnels(server, parts);
  await listenOn(server, { host, port }, { scope, clock: parts.clock, variable, isShared: parts.isShared });
  // Before the server closes: it waits for its connections.
  scope.defer('tunnels of the loopback server', endTunnels);
};

/** Answers `CONNECT`. Its `Host` is the target (RFC 9110, 9.3.6). @returns what ends all tunnels */
const serveTunnels = (server: FastifyInstance, { names, gatewayAddress }: LoopbackParts): (() => Promise<void>) => {
  const gateway = addressOf(gatewayAddress, variableOf('gatewayAddress'));
  // The gateway listens on every address of this machine, or on the one that is named.
  const to = { ...gateway, host: gateway.host === '0.0.0.0' || gateway.host === '::' ? 'localhost' : gateway.host };
  const tunnels = new Set<{ destroy(): unknown }>();
  server.server.on('connect', ({ headers: { host }, url = '' }, client, head) => {
    tunnels.add(client);
    client.once('close', () => tunnels.delete(client));
    const isForUs = host === undefined || isLoopbackHost(host) || isOwnName(names, host);
    tunnel(names, to, { target: isForUs ? url : '', client, head });
  });
  return async () => {
    for (const one of tunnels) one.destroy();
  };
};

/** The reply to a request that names another host. */
const wrongHost: IdentityReply = {
  status: 403,
  body: {
    error: 'forbidden',
    error_description: 'The Host header must be localhost, an address of 127.0.0.0/8 or [::1], with or without a port.',
  },
};

const buildLoopback = ({ tokens, log, clock }: LoopbackParts): FastifyInstance => {
  const server = Fastify({
    http: { headersTimeout: requestMs, connectionsCheckingInterval: 1_000 },
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
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
  limitConnections(server.server, { connectionsMax, connectionsOfAddressMax: connectionsMax }, { clock, log });
  endUnreadReplies(server, clock, requestMs);
  // Before a body is read.
  server.addHook('onRequest', async (request, reply) => {
    if (!isLoopbackHost(request.headers.host)) return reply.code(wrongHost.status).send(wrongHost.body);
    if (request.is404) return reply.code(notServed.status).send(notServed.body);
  });
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
