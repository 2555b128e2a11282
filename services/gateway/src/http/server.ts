import type { Duplex } from 'node:stream';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { DomainAttribute } from '@interlock/runtime';
import type { Attributes, Meter, Tracer } from '@opentelemetry/api';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { textForClients } from '../cloud/resource-names.ts';
import type { Plane } from '../errors/answers.ts';
import { errorBody, RestError } from '../errors/rest-error.ts';
import { restErrorOf } from '../errors/translate.ts';
import { asciiHeaders } from './ascii-headers.ts';
import { bodyBytesMax, holdingBody, jsonWanted, readBodies } from './bodies.ts';
import { clientOf } from './client-address.ts';
import { type ConnectionLimits, limitConnections } from './connections.ts';
import { ownAddress } from './dispatch.ts';
import { invalidBody } from './invalid-body.ts';
import { measureRequests } from './measure.ts';
import { inRequestSpan } from './request-span.ts';
import type { Admit, Route } from './route.ts';
import { openShares, type Shares, type Wanted } from './shares.ts';
import { prefixOf, refuseControlCharacters, routerTarget } from './target.ts';
import { endUnreadReplies } from './unread.ts';

/** What the server needs. */
export interface ServerParts {
  readonly routes: readonly Route[];
  readonly names: CloudNames;
  readonly admit: Admit;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly meter: Meter;
  /** Certificate and key, PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  readonly clock: Pick<Clock, 'alarm' | 'monotonicMs'>;
  readonly limits: ServerLimits;
}

/** What clients can make the server hold, and for how long. */
export interface ServerLimits extends ConnectionLimits {
  /**
   * A request must arrive within this time, its head and its body together, in milliseconds. A client must read `readBytesMin` of its
   * reply in it.
   */
  readonly requestMs: number;
  /** A connection without a request is closed after this time, in milliseconds. */
  readonly idleMs: number;
  /** Bytes of request bodies in memory, of all requests together. One client gets a quarter. */
  readonly bodiesBytesMax: number;
}

/** Largest header block in bytes: a token carries those of five services. */
const headerBytesMax = 32 * 1024;
/** How long a handshake of TLS may take, in milliseconds. */
const handshakeMs = 10_000;
/** How often late requests are searched, in milliseconds. */
const searchMs = 1_000;
/** How long a request waits for memory for its body, in milliseconds. */
const bodyWaitMs = 5_000;
/** How long a client may take to read the last reply of its connection, in milliseconds. */
const farewellMs = 1_000;

interface Admitted {
  readonly caller: Caller | undefined;
  readonly correlationId: string;
  /** Whose memory the body takes; undefined for a request of the gateway itself: it is part of a client's. */
  readonly owner?: Pick<Wanted, 'owner' | 'isAnonymous'> | undefined;
}

const admitted = new WeakMap<FastifyRequest, Admitted>();

/** Builds the HTTPS server: every route of the table, and one translation of errors. */
export const buildServer = async (parts: ServerParts): Promise<FastifyInstance> => {
  const { routes, names, tls, clock, limits } = parts;
  const { requestMs, idleMs } = limits;
  const server = Fastify({
    https: {
      cert: tls.cert,
      key: tls.key,
      maxHeaderSize: headerBytesMax,
      handshakeTimeout: Math.min(handshakeMs, requestMs),
      headersTimeout: requestMs,
      connectionsCheckingInterval: Math.min(searchMs, requestMs),
    },
    // Fastify sets these two on the server, whatever is above.
    requestTimeout: requestMs,
    keepAliveTimeout: idleMs,
    logger: false,
    bodyLimit: bodyBytesMax,
    routerOptions: {
      caseSensitive: false,
      maxParamLength: 1_024,
      querystringParser: (text) => Object.fromEntries(new URLSearchParams(text)),
    },
    rewriteUrl: ({ headers, url }) => routerTarget(names, headers.host ?? '', url ?? '/'),
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    return503OnClosing: true,
    clientErrorHandler: (error, socket) => answerNoHttp(error, socket, clock),
    // A path that the router cannot read reaches no route. The framework's message would show the prefix of the host.
    frameworkErrors: (_error, request, reply) => sendError(parts, malformedUrl(), request, reply),
    forceCloseConnections: 'idle',
  }) as unknown as FastifyInstance;
  limitConnections(server.server, limits, parts);
  measureRequests(server, parts.meter);
  endUnreadReplies(server, clock, requestMs);
  // Before the body is read.
  server.addHook('onRequest', async (request) => {
    if (request.is404) throw notFound(request);
  });
  readBodies(server, bodyMemory(parts), (request) => admitted.get(request)?.owner);
  server.setErrorHandler((error: FastifyError, request, reply) => sendError(parts, error, request, reply));
  server.setNotFoundHandler((request, reply) => sendError(parts, notFound(request), request, reply));
  for (const route of routes) addRoute(server, route, parts);
  return server;
};

/** Memory for bodies. One client gets a quarter of it. */
const bodyMemory = ({ clock, limits: { bodiesBytesMax: max } }: ServerParts): Shares =>
  openShares({ what: 'bytes of request bodies', max, ofOwnerMax: Math.floor(max / 4), waitMs: bodyWaitMs, clock });

/** Answers bytes that are no HTTP, headers that are too large, or a request that does not arrive, and closes the connection. */
const answerNoHttp = (error: Error & { readonly code?: string }, socket: Duplex, clock: Pick<Clock, 'alarm'>): void => {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, error: refused } = refusalOf(error.code ?? '');
  const body = JSON.stringify(errorBody(refused));
  const head = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  // The client may keep its side open. A reply that it does not read is given up.
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  const end = clock.alarm(farewellMs, () => socket.destroy());
  socket.once('close', () => end.cancel());
};

/** @returns the status line and the error */
const refusalOf = (code: string): { readonly status: string; readonly error: RestError } => {
  if (/header_overflow/i.test(code))
    return {
      status: '431 Request Header Fields Too Large',
      error: new RestError(431, 'RequestHeaderFieldsTooLarge', `the headers must be at most ${headerBytesMax} bytes`),
    };
  if (/request_timeout/i.test(code))
    return {
      status: '408 Request Timeout',
      error: new RestError(408, 'RequestTimeout', 'the request did not arrive in time: send it again, and all of it'),
    };
  return { status: '400 Bad Request', error: new RestError(400, 'BadRequest', 'the request is not valid HTTP') };
};

const addRoute = (server: FastifyInstance, route: Route, parts: ServerParts): void => {
  server.route({
    method: route.method,
    url: `${prefixOf[route.host]}${route.path}`,
    exposeHeadRoute: false,
    ...(route.bodyBytesMax === undefined ? {} : { bodyLimit: route.bodyBytesMax }),
    config: { isJson5: route.isJson5 === true, isText: route.body?.type === 'string', route },
    schema: route.body === undefined ? {} : { body: route.body },
    // Before the body is read: a request without a token learns nothing about it, and the first of each client has none.
    onRequest: async (request) => {
      const correlationId = correlationOf(request, parts.random);
      admitted.set(request, { caller: undefined, correlationId });
      const caller =
        route.access === 'public'
          ? undefined
          : await parts.admit(route.access, request.headers.authorization, { correlationId, address: request.ip });
      const { params } = request as { readonly params: Readonly<Record<string, string>> };
      const holder = caller?.principal ?? route.ownerOfUrl?.({ params, query: queryOf(request) });
      const owner = { owner: holder ?? clientOf(request.ip), isAnonymous: holder === undefined };
      admitted.set(request, { caller, correlationId, owner: request.ip === ownAddress ? undefined : owner });
      if (route.versioned) checkVersion(queryOf(request)['api-version'], route.host);
    },
    handler: (request, reply) =>
      inRequestSpan(parts.tracer, route, { request, reply, attributes: idsOf(request) }, async () => {
        try {
          return await holdingBody(request, () => answer(route, request, reply));
        } catch (error) {
          return sendError(parts, error, request, reply);
        }
      }),
  });
};

/** The ids of the client are attributes: it can find the trace of its request. */
const idsOf = (request: FastifyRequest): Attributes => ({
  [DomainAttribute.correlationId]: admitted.get(request)?.correlationId,
  'http.request.header.x-ms-client-request-id': clientIdOf(request),
});

const answer = async (route: Route, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
  const { caller } = admitted.get(request) ?? {};
  refuseControlCharacters(request.params as Record<string, string>);
  const {
    status = 200,
    body,
    stream,
    headers = {},
  } = await route.handle(
    {
      params: request.params as Record<string, string>,
      query: queryOf(request),
      body: request.body,
      headers: request.headers,
      origin: `https://${request.headers.host ?? ''}`,
      url: request.url.replace(route.host === 'vault' ? /^\/~vault\/[^/]*/ : /^\/~gateway/, ''),
      address: request.ip,
    },
    // Only handlers of public routes have no caller, and they take none.
    caller as Caller,
  );
  setCommonHeaders(request, reply);
  reply.headers(asciiHeaders(headers)).code(status);
  if (stream !== undefined) return reply.send(stream);
  return body === undefined ? reply.send() : reply.type('application/json; charset=utf-8').send(JSON.stringify(body));
};

const queryOf = (request: FastifyRequest): Readonly<Record<string, string>> => request.query as Record<string, string>;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The client's correlation id, or a new one (REST-13). */
const correlationOf = ({ headers }: FastifyRequest, random: Random): string => {
  const given = headers['x-ms-correlation-request-id'];
  return typeof given === 'string' && uuid.test(given) ? given.toLowerCase() : random.uuid();
};

/** The client's own id of the request, if it is a UUID. */
const clientIdOf = ({ headers }: FastifyRequest): string | undefined => {
  const given = headers['x-ms-client-request-id'];
  return typeof given === 'string' && uuid.test(given) ? given : undefined;
};

const setCommonHeaders = (request: FastifyRequest, reply: FastifyReply): void => {
  const { correlationId = '' } = admitted.get(request) ?? {};
  const clientId = clientIdOf(request);
  reply.headers({
    'x-ms-request-id': correlationId,
    'x-ms-correlation-request-id': correlationId,
    'cache-control': reply.getHeader('cache-control') ?? 'no-cache',
    'strict-transport-security': 'max-age=31536000',
    'x-content-type-options': 'nosniff',
    ...(request.url.startsWith(prefixOf.vault) ? vaultHeaders(request.ip) : {}),
    ...(clientId === undefined ? {} : { 'x-ms-client-request-id': clientId }),
  });
};

/** Headers of every vault reply, about the vault and the connection (KV-115). The region is not known here. */
const vaultHeaders = (address: string) => {
  const family = address.includes(':') && !address.startsWith('::ffff:') ? 'InterNetworkV6' : 'InterNetwork';
  const plain = address.replace('::ffff:', '');
  return {
    'x-ms-keyvault-service-version': '1.9.0.0',
    'x-ms-keyvault-network-info': `conn_type=${family === 'InterNetwork' ? 'Ipv4' : 'Ipv6'};addr=${plain};act_addr_fam=${family};`,
  };
};

const dated = /^\d{4}-\d{2}-\d{2}(-preview)?$/;

/** @throws RestError 400 (REST-01) */
const checkVersion = (version: string | undefined, host: Route['host']): void => {
  if (version === undefined || version === '') {
    throw new RestError(
      400,
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  }
  if (dated.test(version) || (host === 'vault' && /^7\.\d(-preview(\.\d)?)?$/.test(version))) return;
  throw new RestError(
    400,
    'InvalidApiVersionParameter',
    `The api-version '${version.slice(0, 50)}' is invalid: it must look like 2024-11-01.`,
  );
};

const malformedUrl = (): RestError =>
  new RestError(400, 'InvalidRequestContent', 'the path of the request is not a valid URL');

/** What vaults of the public cloud have besides keys. */
const otherObjects = /^\/(deleted)?(secrets|certificates|storage)(\/|$)/i;

/** A path that no route serves. */
const notFound = ({ method, url }: FastifyRequest): RestError => {
  if (url.startsWith('/~unknown')) {
    return new RestError(
      404,
      'HostNotFound',
      'The host is neither the gateway nor a vault: see GATEWAY_URL and GATEWAY_VAULT_SUFFIX.',
    );
  }
  const path = url.split('?')[0]?.replace(/^\/~(gateway|vault\/[^/]*)/, '') ?? '';
  if (url.startsWith(prefixOf.vault) && otherObjects.test(path)) {
    const message = `${method} ${path.slice(0, 200)}: not supported here. A vault has keys, and no secrets, certificates or storage accounts.`;
    return new RestError(400, 'NotSupported', message);
  }
  const [, provider, type] = /\/providers\/([^/]+)(?:\/([^/]+))?/i.exec(path) ?? [];
  if (provider !== undefined) {
    const name = [provider, type].filter(Boolean).join('/').slice(0, 200);
    return new RestError(
      404,
      'InvalidResourceType',
      `${method} of the resource type '${name}' is not served here: see docs/not-emulated.md.`,
    );
  }
  return new RestError(
    404,
    'NotFound',
    `${method} ${path.slice(0, 200)} is not served here: see docs/not-emulated.md.`,
  );
};

const sendError = (parts: ServerParts, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
  const plane: Plane = request.url.startsWith(prefixOf.vault) ? 'vault' : 'management';
  if (!admitted.has(request))
    admitted.set(request, { caller: undefined, correlationId: correlationOf(request, parts.random) });
  const known = restErrorOf(error, plane) ?? frameworkError(error, plane);
  const { correlationId = '' } = admitted.get(request) ?? {};
  if (known === undefined) parts.log.error('request failed', { error, method: request.method, correlationId });
  const sent =
    known ?? new RestError(500, 'InternalServerError', `internal error; its cause is in the log of ${correlationId}`);
  setCommonHeaders(request, reply);
  return reply
    .headers(asciiHeaders(sent.headers))
    .code(sent.status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(errorBody(sent, (text) => textForClients(parts.names, text))));
};

/** Errors of the framework: a body that does not fit, or is of another type; a malformed URL. */
const frameworkError = (error: unknown, plane: Plane): RestError | undefined => {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { message, validation, statusCode: status = 500 } = error as FastifyError;
  const invalid = plane === 'vault' ? 'BadParameter' : 'InvalidRequestContent';
  if (validation !== undefined) return invalidBody(validation, plane);
  if (status === 415) {
    return new RestError(415, 'UnsupportedMediaType', jsonWanted);
  }
  return status >= 400 && status < 500 ? new RestError(status, invalid, message) : undefined;
};
