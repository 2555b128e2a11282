import { DURATION_BUCKETS_S } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import type { Route } from './route.ts';

/**
 * Measures each request as `http.server.request.duration` of OpenTelemetry's conventions, by method, route and status. The route is
 * that of the table; a request that no route serves has none, so paths that clients invent make no new series.
 */
export const measureRequests = (server: FastifyInstance, meter: Meter): void => {
  const duration = meter.createHistogram('http.server.request.duration', {
    unit: 's',
    description: 'How long requests took, by route',
    advice: { explicitBucketBoundaries: [...DURATION_BUCKETS_S] },
  });
  server.addHook('onResponse', async (request, reply) => {
    const { route } = request.routeOptions.config as { readonly route?: Pick<Route, 'path'> };
    duration.record(reply.elapsedTime / 1_000, {
      'http.request.method': request.method,
      ...(route === undefined ? {} : { 'http.route': route.path }),
      'http.response.status_code': reply.statusCode,
    });
  });
};
