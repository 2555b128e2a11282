import { appendFileSync, existsSync, renameSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGunzip } from 'node:zlib';
import type { Random } from '@interlock/runtime';
import { OtlpError, spansOf } from './otlp.ts';
import type { SpanStore } from './spans.ts';

/** Takes spans over OTLP/HTTP, so that a trace can be shown without a collector. */
export interface SpanReceiver {
  /**
   * For `OTEL_EXPORTER_OTLP_ENDPOINT`. Its path holds a secret, since any user of the machine can connect to the port. Below it:
   * `POST v1/traces`; `GET traces/<id>` answers the spans of a trace as a list.
   */
  readonly endpoint: string;
  /** The store. What this process adds of its own here goes to the file as well, like what is received. */
  readonly spans: SpanStore;
  stop(): Promise<void>;
}

/** A thousand spans are about 1 MiB. */
const bodyBytesMax = 16 * 2 ** 20;

/** Two files of this size are kept at most. */
const defaultFileBytesMax = 64 * 2 ** 20;

/**
 * Serves on a free port of 127.0.0.1, unless told otherwise. Each span goes to the store, and as one line of JSON to `file`; when that is full it
 * becomes `<name>.1.jsonl` in place of the one before.
 */
export async function startSpanReceiver(options: {
  readonly store: SpanStore;
  readonly file: string;
  readonly random: Random;
  readonly fileBytesMax?: number;
  /** Where something else decides who may connect (a network policy): this host and port, and no secret in the path. */
  readonly open?: { readonly host: string; readonly port: number };
}): Promise<SpanReceiver> {
  const { store, file, random, fileBytesMax = defaultFileBytesMax } = options;
  const prefix = options.open === undefined ? `/${Buffer.from(random.bytes(16)).toString('hex')}` : '';
  const { host, port: wanted } = options.open ?? { host: '127.0.0.1', port: 0 };

  const kept: SpanStore = {
    ...store,
    add: (spans) => {
      store.add(spans);
      append(file, fileBytesMax, spans.map((span) => `${JSON.stringify(span)}\n`).join(''));
    },
  };
  const receive = async (request: IncomingMessage): Promise<object> => {
    kept.add(spansOf(JSON.parse(await bodyOf(request))));
    return {};
  };
  const answer = async (request: IncomingMessage): Promise<object> => {
    const url = request.url ?? '';
    const path = url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : '';
    const trace = /^\/traces\/([0-9a-f]{32})$/.exec(path)?.[1];
    if (request.method === 'GET' && trace !== undefined) return store.spansOfTrace(trace);
    if (request.method !== 'POST' || path !== '/v1/traces') throw new HttpError(404, 'no such resource');
    if (!request.headers['content-type']?.startsWith('application/json')) {
      throw new HttpError(415, 'only OTLP as JSON is taken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/json');
    }
    return receive(request);
  };

  const server = createServer((request, response) => {
    answer(request).then(
      (body) => reply(response, 200, body),
      (error: unknown) =>
        reply(response, statusOf(error), { message: error instanceof Error ? error.message : String(error) }),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(wanted, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://${host}:${port}${prefix}`,
    spans: kept,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class HttpError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function statusOf(error: unknown): number {
  if (error instanceof HttpError) return error.status;
  // zlib's errors have codes like Z_DATA_ERROR.
  const isUnzippable = error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
  return error instanceof OtlpError || error instanceof SyntaxError || isUnzippable ? 400 : 500;
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const stream =
    request.headers['content-encoding'] === 'gzip' ? request.compose<NodeJS.ReadWriteStream>(createGunzip()) : request;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    const buffer = Buffer.from(chunk);
    bytes += buffer.length;
    if (bytes > bodyBytesMax) throw new HttpError(413, `a body may have ${bodyBytesMax} bytes`);
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function append(file: string, bytesMax: number, lines: string): void {
  if (existsSync(file) && statSync(file).size + lines.length > bytesMax) {
    renameSync(file, file.replace(/\.jsonl$/, '.1.jsonl'));
  }
  appendFileSync(file, lines, { mode: 0o600 });
}
