import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RestError } from '../errors/rest-error.ts';
import { readJson } from './json.ts';
import type { Shares } from './shares.ts';

/** Largest body in bytes: an imported key, or a template. */
export const bodyBytesMax = 1024 * 1024;

/** The refusal of a body that is no JSON. */
export const jsonWanted = 'the content type must be application/json';

/** What a route says about its body. */
interface BodyConfig {
  readonly isJson5?: boolean;
  readonly isText?: boolean;
}

const configOf = ({ routeOptions }: FastifyRequest): BodyConfig => routeOptions.config as BodyConfig;

/** Reads bodies into memory that the clients share, and parses them. */
export const readBodies = (
  server: FastifyInstance,
  memory: Shares,
  /** Whose memory the body of a request takes. */
  ownerOf: (request: FastifyRequest) => { readonly owner: string; readonly isAnonymous: boolean } | undefined,
): void => {
  server.addHook('preParsing', async (request, reply, payload) => {
    const bytes = bytesWanted(request);
    const owner = bytes === 0 ? undefined : ownerOf(request);
    if (owner !== undefined) await hold(memory, { ...owner, amount: bytes }, request, reply);
    return payload;
  });
  server.removeAllContentTypeParsers();
  addParsers(server);
};

const addParsers = (server: FastifyInstance): void => {
  const parse = (type: RegExp, parseText: (text: string, config: BodyConfig) => unknown): void =>
    void server.addContentTypeParser(type, async (request: FastifyRequest, payload: Readable) =>
      parseText((await bytesOf(request, payload)).toString('utf8'), configOf(request)),
    );
  parse(/^application\/([\w.]+\+)?json(;|$)/i, (text, { isJson5 }) => readJson(text, isJson5));
  parse(/^application\/x-www-form-urlencoded(;|$)/i, (text) => Object.fromEntries(new URLSearchParams(text)));
  parse(/^(application\/(x-)?yaml|text\/(x-)?yaml|text\/plain)(;|$)/i, (text, { isText }) => {
    if (isText === true) return text;
    throw new RestError(415, 'UnsupportedMediaType', jsonWanted);
  });
  server.addContentTypeParser(/^application\/octet-stream(;|$)/i, bytesOf);
};

/** Bytes that the body may take: its length, or the limit of the route for a body that does not state it; 0 for one that is refused. */
const bytesWanted = ({ headers, routeOptions }: FastifyRequest): number => {
  const { bodyLimit = bodyBytesMax } = routeOptions;
  if (headers['transfer-encoding'] !== undefined) return bodyLimit;
  const length = Number(headers['content-length'] ?? 0);
  return length > bodyLimit ? 0 : length;
};

const holds = new WeakMap<FastifyRequest, { isHandled: boolean; readonly release: () => void }>();

/** Takes memory until the request is handled, or its connection ends before. */
const hold = async (
  memory: Shares,
  wanted: Parameters<Shares['take']>[0],
  request: FastifyRequest,
  { raw }: FastifyReply,
): Promise<void> => {
  const gone = new AbortController();
  const { socket } = request.raw;
  const abort = (): void => gone.abort();
  // Pipelined requests wait behind each other on one socket.
  socket.setMaxListeners(0);
  socket.once('close', abort);
  raw.once('close', abort);
  try {
    const release = await memory.take(wanted, gone.signal);
    const held = { isHandled: false, release };
    holds.set(request, held);
    // A reply that waits behind another one on its connection is not closed with it.
    const end = (): void => {
      socket.off('close', end);
      if (!held.isHandled) release();
    };
    socket.once('close', end);
    raw.once('close', end);
    if (gone.signal.aborted) release();
  } finally {
    socket.off('close', abort);
    raw.off('close', abort);
  }
};

/** Keeps the memory of the body while the request is handled, also without its client. */
export const holdingBody = async <Result>(request: FastifyRequest, handle: () => Promise<Result>): Promise<Result> => {
  const held = holds.get(request);
  if (held === undefined) return handle();
  held.isHandled = true;
  try {
    return await handle();
  } finally {
    held.release();
  }
};

/**
 * The whole body, copied into one buffer: a client that sends it byte by byte must not make an object of each.
 * @throws RestError 413; the stream's error if the client stops
 */
const bytesOf = async ({ headers, routeOptions }: FastifyRequest, payload: Readable): Promise<Buffer> => {
  const { bodyLimit = bodyBytesMax } = routeOptions;
  const stated = headers['content-length'] === undefined ? undefined : Number(headers['content-length']);
  if (stated !== undefined && stated > bodyLimit) throw tooLarge(bodyLimit);
  let bytes = Buffer.allocUnsafeSlow(stated ?? Math.min(bodyLimit, 16 * 1024));
  let length = 0;
  // The refusal below must reach the client, so the end of the loop must not close its connection.
  for await (const part of payload.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    if (length + part.length > bodyLimit) throw tooLarge(bodyLimit);
    if (length + part.length > bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(bodyLimit, Math.max(2 * bytes.length, length + part.length)));
      bytes.copy(larger, 0, 0, length);
      bytes = larger;
    }
    part.copy(bytes, length);
    length += part.length;
  }
  return bytes.subarray(0, length);
};

const tooLarge = (bytesMax: number): RestError =>
  new RestError(413, 'RequestEntityTooLarge', `the body must be at most ${bytesMax} bytes`);
