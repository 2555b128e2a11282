import { appendFileSync, renameSync, statSync, truncateSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGunzip } from 'node:zlib';
import type { Span, SpanStore } from '@interlock/lab/spans/span-store';
import { isSpaceError, type Random } from '@interlock/runtime';
import { OtlpError, readSpans } from './read-spans.ts';
import { receivedSpans } from './received-spans.ts';

/** Receives spans over OTLP/HTTP, so that a trace can be shown without a collector. */
export interface SpanReceiver {
  /**
   * For `OTEL_EXPORTER_OTLP_ENDPOINT`. Its path contains a secret, since any user of the machine can connect to the port. Below it:
   * `POST v1/traces`, and metrics and logs if `onExport` receives them; `GET traces/<id>` returns the spans of a trace as a list.
   */
  readonly endpoint: string;
  /** The store. Spans that this process adds go to the file as well. */
  readonly spans: SpanStore;
  stop(): Promise<void>;
}

/** A thousand spans are about 1 MiB. */
const bodyBytesMax = 16 * 2 ** 20;

/** At most two files of this size are kept. */
export const spanFileBytesMax = 64 * 2 ** 20;

/** The name of OpenTelemetry's exporter in our own services. Its exports always have the right form. */
const ownExporter = 'OTel-OTLP-Exporter-JavaScript/';

/**
 * Serves on a free port of 127.0.0.1 by default. Spans go to the store, and to `file` as they were sent, one export a line
 * (`spansInLine`). A full file becomes `<name>.1.jsonl` and replaces the earlier one.
 */
export async function startSpanReceiver(options: {
  readonly store: SpanStore;
  readonly file: string;
  readonly random: Random;
  readonly fileBytesMax?: number;
  /** Receives each export as it was sent: its path (`/v1/traces`, `/v1/metrics`, `/v1/logs`) and its text. */
  readonly onExport?: (path: string, body: string) => void;
  /** Serves on this host and port without a secret in the path, if something else decides who may connect (a network policy). */
  readonly open?: { readonly host: string; readonly port: number };
}): Promise<SpanReceiver> {
  const { store, file, random, fileBytesMax = spanFileBytesMax, onExport } = options;
  const prefix = options.open === undefined ? `/${Buffer.from(random.bytes(16)).toString('hex')}` : '';
  const { host, port: wanted } = options.open ?? { host: '127.0.0.1', port: 0 };

  const received = receivedSpans(store);
  const spans: SpanStore = {
    ...received.spans,
    add: (own) => {
      received.spans.add(own);
      append(file, fileBytesMax, own.map((span) => `${JSON.stringify(span)}\n`).join(''));
    },
  };
  const receive = (request: IncomingMessage, body: string): object => {
    if (request.headers['user-agent']?.startsWith(ownExporter)) received.take(body);
    else store.add(readSpans(JSON.parse(body)));
    append(file, fileBytesMax, `${body.includes('\n') ? JSON.stringify(JSON.parse(body)) : body}\n`);
    return {};
  };
  const answer = async (request: IncomingMessage): Promise<object> => {
    const url = request.url ?? '';
    const path = url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : '';
    const trace = /^\/traces\/([0-9a-f]{32})$/.exec(path)?.[1];
    if (request.method === 'GET' && trace !== undefined) return spans.spansOfTrace(trace);
    const isTaken = path === '/v1/traces' || (onExport !== undefined && /^\/v1\/(metrics|logs)$/.test(path));
    if (request.method !== 'POST' || !isTaken) throw new HttpError(404, 'no such resource');
    if (!request.headers['content-type']?.startsWith('application/json')) {
      throw new HttpError(415, 'only OTLP as JSON is taken: set OTEL_EXPORTER_OTLP_PROTOCOL=http/json');
    }
    const body = await bodyOf(request);
    onExport?.(path, body);
    return path === '/v1/traces' ? receive(request, body) : {};
  };

  const { port, stop } = await serve(answer, host, wanted);
  return { endpoint: `http://${host}:${port}${prefix}`, spans, stop };
}

/** Serves JSON over HTTP. An error of `answer` becomes the status and message of the response. */
async function serve(answer: (request: IncomingMessage) => Promise<object>, host: string, wanted: number) {
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
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { port: (server.address() as AddressInfo).port, stop };
}

/** The spans in a line of the file: an export as it was sent, or a span of the process that wrote it. @throws OtlpError, SyntaxError */
export const spansInLine = (line: string): readonly Span[] => {
  const written: Span | { readonly resourceSpans: unknown } = JSON.parse(line);
  return 'resourceSpans' in written ? readSpans(written) : [written];
};

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

/** Without space the file lacks these lines (the launcher reports a full folder), and the store has their spans. */
function append(file: string, bytesMax: number, lines: string): void {
  let size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size > 0 && size + lines.length > bytesMax) {
    renameSync(file, file.replace(/\.jsonl$/, '.1.jsonl'));
    size = 0;
  }
  try {
    appendFileSync(file, lines, { mode: 0o600 });
  } catch (error) {
    if (!isSpaceError(error)) throw error;
    // A line that was stored in part is removed.
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > size) truncateSync(file, size);
  }
}
