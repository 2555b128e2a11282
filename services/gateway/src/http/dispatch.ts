import type { Clock } from '@interlock/runtime';
import type { FastifyInstance } from 'fastify';
import type { CloudNames } from '../cloud/names.ts';

/** A request of management that the gateway sends to itself, for a caller. */
export interface OwnRequest {
  readonly method: 'GET' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query. */
  readonly url: string;
  readonly body?: unknown;
}

/** The reply to such a request. */
export interface OwnReply {
  readonly status: number;
  /** undefined: no body. */
  readonly body: unknown;
}

/** Headers of the caller's request: who it is. */
export type OwnHeaders = Readonly<Record<string, string | string[] | undefined>>;

/**
 * Sends requests through the route table, as a client with the caller's token would: with the same checks. Waits until a long-running
 * operation has ended; its failure is then a reply with status 409.
 */
export interface Dispatch {
  send(request: OwnRequest, headers: OwnHeaders): Promise<OwnReply>;
  /** Called once, when the server exists. */
  attach(server: FastifyInstance): void;
}

/** Address of the gateway's own requests. Only a network rule for all addresses contains it. */
export const ownAddress = '0.0.0.0';
/** Between two polls of an operation, in milliseconds. */
const pollMs = 200;
/** An operation that has not ended after this time counts as failed, in milliseconds. */
const operationMs = 300_000;

/** Makes the dispatch. */
export const openDispatch = (names: Pick<CloudNames, 'gateway'>, clock: Clock): Dispatch => {
  let server: FastifyInstance | undefined;
  const { host } = new URL(names.gateway);

  const once = async ({ method, url, body }: OwnRequest, headers: OwnHeaders) => {
    if (server === undefined) throw new Error('a request was dispatched before the server existed');
    const reply = await server.inject({
      method,
      url,
      remoteAddress: ownAddress,
      headers: {
        host,
        ...(typeof headers.authorization === 'string' ? { authorization: headers.authorization } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
    });
    const parsed: unknown = reply.payload === '' ? undefined : JSON.parse(reply.payload);
    return { status: reply.statusCode, body: parsed, headers: reply.headers };
  };

  return {
    attach(made) {
      server = made;
    },
    async send(request, headers) {
      const first = await once(request, headers);
      const operation = first.headers['azure-asyncoperation'];
      const location = first.headers.location;
      if (first.status >= 400 || (operation === undefined && location === undefined)) return first;
      const untilMs = clock.monotonicMs() + operationMs;
      while (clock.monotonicMs() < untilMs) {
        const polled = await once({ method: 'GET', url: pathOf(String(operation ?? location)) }, headers);
        const ended = operation === undefined ? locationEnd(polled) : operationEnd(polled);
        if (ended !== undefined) return ended;
        await clock.sleep(pollMs);
      }
      const message = `${request.method} ${request.url.split('?')[0]} did not end within ${operationMs / 1_000} s`;
      return { status: 504, body: { error: { code: 'GatewayTimeout', message } } };
    },
  };
};

const pathOf = (url: string): string => {
  const { pathname, search } = new URL(url);
  return `${pathname}${search}`;
};

const locationEnd = (polled: OwnReply): OwnReply | undefined => (polled.status === 202 ? undefined : polled);

const operationEnd = (polled: OwnReply): OwnReply | undefined => {
  if (polled.status >= 400) return polled;
  const { status, error } = (polled.body ?? {}) as { readonly status?: string; readonly error?: unknown };
  if (status === 'Succeeded') return { status: 200, body: undefined };
  return status === 'Failed' || status === 'Canceled' ? { status: 409, body: { error } } : undefined;
};
