import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A file of the page, or data. */
export interface Answer {
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** What the door serves to a caller with the token. */
export interface Served {
  /** @param path after the token, without a leading slash: `app.js`. @returns undefined if there is no such thing */
  answer(path: string): Promise<Answer | undefined>;
  /** Streams changes to a viewer until its connection ends. */
  stream(response: ServerResponse, lastEventId: string): void;
}

/** The bounds of the door. Times in milliseconds. */
export interface DoorBounds {
  /** Connections that have not shown the token. With one more, the oldest of them is closed. */
  readonly strangersMax: number;
  /** Viewers at the same time. */
  readonly streamsMax: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
  /** After this time without progress a viewer that does not read is dropped. */
  readonly idleMs: number;
}

/** For a page that one person looks at, with several windows. */
export const doorBounds: DoorBounds = { strangersMax: 64, streamsMax: 32, requestMs: 5_000, idleMs: 30_000 };

/** Bytes of a request line and its headers. A request of a browser has about 1 KiB. */
const HEADER_BYTES_MAX = 8_192;
/** All connections, as the last bound: 32 viewers, their other requests, and strangers. */
const CONNECTIONS_MAX = 256;

/**
 * No script and no style but the page's own files, and nothing from elsewhere. Pictures of the report colour their parts with style
 * attributes, which can load nothing under `default-src 'none'`.
 */
const contentPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "style-src-attr 'unsafe-inline'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const headers: Readonly<Record<string, string>> = {
  'content-security-policy': contentPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/** The open door. */
export interface Door {
  readonly port: number;
  /** `http://127.0.0.1:<port>/<token>/` */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves the page on 127.0.0.1. Every request needs the token as the first part of its path, and a `Host` that names this computer:
 * a page from elsewhere whose name resolves to 127.0.0.1 has another one. Only GET and HEAD; no cookie.
 * @param port 0: a free one
 * @throws Error EADDRINUSE
 */
export async function openDoor(
  served: Served,
  options: { readonly port: number; readonly token: string; readonly bounds?: DoorBounds },
): Promise<Door> {
  const { token, bounds = doorBounds } = options;
  const streams = new Set<ServerResponse>();
  const strangers = new Set<Socket>();
  const isToken = sameText(token);
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: bounds.requestMs,
    requestTimeout: bounds.requestMs,
    keepAliveTimeout: bounds.requestMs,
    connectionsCheckingInterval: Math.min(1_000, bounds.requestMs),
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.on('connection', (socket) => {
    strangers.add(socket);
    socket.once('close', () => strangers.delete(socket));
    socket.setTimeout(bounds.idleMs, () => socket.destroy());
    const [oldest] = strangers;
    // Not the new one: it may be the user's, and others may hold all places.
    if (strangers.size > bounds.strangersMax) oldest?.destroy();
  });
  server.on('request', (request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    const path = allowedPath(request, portOf(server), isToken);
    if (path === 308) return void response.writeHead(308, { location: `/${token}/`, 'content-length': 0 }).end();
    if (typeof path === 'number') return refuse(response, path);
    strangers.delete(request.socket);
    if (path !== 'events' || request.method === 'HEAD') return void reply(served, path, request, response);
    if (streams.size >= bounds.streamsMax) return refuse(response, 503);
    streams.add(response);
    response.once('close', () => streams.delete(response));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    served.stream(response, String(request.headers['last-event-id'] ?? ''));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const port = portOf(server);
  return {
    port,
    address: `http://127.0.0.1:${port}/${token}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/**
 * The path after the token, or the status of the response. A refusal does not say which check failed. Without the slash after the
 * token the browser would look for the files of the page in the wrong place: 308 sends it to the address with the slash.
 */
function allowedPath(
  { headers: { host }, method, url = '' }: IncomingMessage,
  port: number,
  isToken: (text: string) => boolean,
): string | 308 | 403 | 405 {
  const [, given = '', path] = /^\/([^/?#]*)(?:\/([^?#]*))?/.exec(url) ?? [];
  const isHere = host === `127.0.0.1:${port}` || host === `localhost:${port}`;
  // Both are compared in any case, so that the time of a refusal depends on neither.
  if (!isToken(given) || !isHere) return 403;
  if (method !== 'GET' && method !== 'HEAD') return 405;
  return path ?? 308;
}

/** Compares texts of any length with one text, in a time that does not depend on their content. */
function sameText(expected: string): (text: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const wanted = digest(expected);
  return (text) => timingSafeEqual(digest(text), wanted);
}

const refusals: Readonly<Record<403 | 404 | 405 | 500 | 503, string>> = {
  403: 'Forbidden: open the address that `interlock page` printed.',
  404: 'Not found.',
  405: 'The page changes nothing: only GET and HEAD are allowed.',
  500: 'This could not be read.',
  503: 'Too many windows show this page: close some of them.',
};

/** Also ends the connection: what the caller still sends is not read. */
function refuse(response: ServerResponse, status: keyof typeof refusals): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    connection: 'close',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(`${refusals[status]}\n`);
}

async function reply(
  served: Served,
  path: string,
  { method }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let answer: Answer | undefined;
  try {
    answer = path === 'events' ? { type: 'text/event-stream', body: '' } : await served.answer(path);
  } catch {
    return refuse(response, 500);
  }
  if (answer === undefined) return refuse(response, 404);
  response.writeHead(200, { 'content-type': answer.type, 'content-length': Buffer.byteLength(answer.body) });
  response.end(method === 'HEAD' ? undefined : answer.body);
}
