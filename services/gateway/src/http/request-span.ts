import { contextFromTraceparent, failSpan, inSpan, withBaggage } from '@interlock/runtime';
import { type Attributes, type Context, SpanKind, type Tracer } from '@opentelemetry/api';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Route } from './route.ts';

/**
 * Answers a request in a SERVER span of OpenTelemetry's conventions for HTTP, which continues the trace of the client.
 * @param answer sends the response, also for errors
 */
export const inRequestSpan = (
  tracer: Tracer,
  route: Route,
  parts: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly attributes: Attributes },
  answer: () => Promise<FastifyReply>,
): Promise<FastifyReply> => {
  const { request, reply, attributes } = parts;
  const own = attributesOf(route, request);
  const options = { kind: SpanKind.SERVER, attributes: { ...own, ...attributes }, parent: parentOf(request) };
  return inSpan(tracer, `${route.method} ${route.path}`, options, async (span) => {
    const sent = await answer();
    const { statusCode } = reply;
    span.setAttribute('http.response.status_code', statusCode);
    if (statusCode >= 500) {
      failSpan(span, new Error(`the response has the status ${statusCode}`));
      span.setAttribute('error.type', String(statusCode));
    }
    return sent;
  });
};

const attributesOf = (route: Route, { url, headers, ip }: FastifyRequest): Attributes => {
  // What the router puts before the path of the client.
  const [path = ''] = url.replace(/^\/~(?:gateway|vault\/[^/]*)/, '').split('?');
  const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(headers.host ?? '') ?? [];
  return {
    'http.request.method': route.method,
    'http.route': route.path,
    'url.path': path,
    'url.scheme': 'https',
    'client.address': ip,
    ...(host ? { 'server.address': host, 'server.port': Number(port ?? 443) } : {}),
  };
};

const parentOf = ({ headers }: FastifyRequest): Context => {
  const one = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  return withBaggage(contextFromTraceparent(one('traceparent'), one('tracestate')), one('baggage'));
};
