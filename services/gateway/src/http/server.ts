import type { Duplex } from 'node:stream';
import type { Logger, Random } from '@interlock/runtime';
import { DomainAttribute } from '@interlock/runtime';
import type { Attributes, Meter, Tracer } from '@opentelemetry/api';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { textForClients } from '../cloud/resource-names.ts';
import type { Plane } from '../errors/answers.ts';
import { errorBody, RestError } from '../errors/rest-error.ts';
import { restErrorOf } from '../errors/translate.ts';
import type { Admit } from './access.ts';
import { asciiHeaders } from './ascii-headers.ts';
import { readJson } from './json.ts';
import { measureRequests } from './measure.ts';
import { inRequestSpan } from './request-span.ts';
import type { Route } from './route.ts';
import { prefixOf, refuseControlCharacters, routerTarget } from './target.ts';

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
}

/** Largest body in bytes: an imported key, or a template. */
const bodyBytesMax = 1024 * 1024;
/** Largest header block in bytes: a token carries those of five services. */
const headerBytesMax = 32 * 1024;
/** A client that sends slower than this loses its connection, in milliseconds. */
const requestTimeoutMs = 30_000;

interface Admitted {
  readonly caller: Caller | undefined;
  readonly correlationId: string;
}

const admitted = new WeakMap<FastifyRequest, Admitted>();

/** Builds the HTTPS server: every route of the table, and one translation of errors. */
export const buildServer = async (parts: ServerParts): Promise<FastifyInstance> => {
  const { routes, names, tls } = parts;
  const server = Fastify({
    https: { cert: tls.cert, key: tls.key, maxHeaderSize: headerBytesMax, requestTimeout: requestTimeoutMs },
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
    clientErrorHandler: answerNoHttp,
    // A path that the router cannot read reaches no route. The framework's message would show the prefix of the host.
    frameworkErrors: (_error, request, reply) => sendError(parts, malformedUrl(), request, reply),
    forceCloseConnections: 'idle',
  }) as unknown as FastifyInstance;
  readBodies(server);
  measureRequests(server, parts.meter);
  server.setErrorHandler((error: FastifyError, request, reply) => sendError(parts, error, request, reply));
  server.setNotFoundHandler((request, reply) => sendError(parts, notFound(request), request, reply));
  for (const route of routes) addRoute(server, route, parts);
  return server;
};

/** Answers bytes that are no HTTP, or headers that are too large, and closes the connection. */
const answerNoHttp = (error: Error & { readonly code?: string }, socket: Duplex): void => {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const isTooLarge = /header_overflow/i.test(error.code ?? '');
  const body = JSON.stringify(
    errorBody(
      isTooLarge
        ? new RestError(431, 'RequestHeaderFieldsTooLarge', `the headers must be at most ${headerBytesMax} bytes`)
        : new RestError(400, 'BadRequest', 'the request is not valid HTTP'),
    ),
  );
  const status = isTooLarge ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const head = [`HTTP/1.1 ${status}`, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`];
  socket.end(`${head.join('\r\n')}\r\nConnection: close\r\n\r\n${body}`);
};

const jsonWanted = 'the content type must be application/json';

const readBodies = (server: FastifyInstance): void => {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    /^application\/([\w.]+\+)?json(;|$)/i,
    { parseAs: 'string' },
    async (request: FastifyRequest, text: string) => readJson(text, configOf(request).isJson5),
  );
  server.addContentTypeParser(
    /^application\/x-www-form-urlencoded(;|$)/i,
    { parseAs: 'string' },
    async (_request: unknown, text: string) => Object.fromEntries(new URLSearchParams(text)),
  );
  server.addContentTypeParser(
    /^(application\/(x-)?yaml|text\/(x-)?yaml|text\/plain)(;|$)/i,
    { parseAs: 'string' },
    async (request: FastifyRequest, text: string) => {
      if (configOf(request).isText) return text;
      throw new RestError(415, 'UnsupportedMediaType', jsonWanted);
    },
  );
  server.addContentTypeParser(
    /^application\/octet-stream(;|$)/i,
    { parseAs: 'buffer' },
    async (_request: unknown, bytes: Buffer) => bytes,
  );
};

/** What a route says about its body. */
const configOf = ({ routeOptions }: FastifyRequest) =>
  routeOptions.config as { readonly isJson5?: boolean; readonly isText?: boolean };

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
      admitted.set(request, { caller, correlationId });
      if (route.versioned) checkVersion(queryOf(request)['api-version'], route.host);
    },
    handler: (request, reply) =>
      inRequestSpan(parts.tracer, route, { request, reply, attributes: idsOf(request) }, async () => {
        try {
          return await answer(route, request, reply);
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

/** Errors of the framework: a body that does not fit, is too large or of another type; a malformed URL. */
const frameworkError = (error: unknown, plane: Plane): RestError | undefined => {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { message, validation, statusCode: status = 500 } = error as FastifyError;
  const invalid = plane === 'vault' ? 'BadParameter' : 'InvalidRequestContent';
  if (validation !== undefined) return new RestError(400, invalid, message);
  if (status === 413) {
    return new RestError(413, 'RequestEntityTooLarge', `the body must be at most ${bodyBytesMax} bytes`);
  }
  if (status === 415) {
    return new RestError(415, 'UnsupportedMediaType', jsonWanted);
  }
  return status >= 400 && status < 500 ? new RestError(status, invalid, message) : undefined;
};
