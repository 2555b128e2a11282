import { createHash } from 'node:crypto';
import type { Random } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import type { RouteRequest } from '../http/route.ts';

/**
 * Request id for a call that makes a version. SDKs repeat a request that got 503 or 504 with the same `x-ms-client-request-id`:
 * with an id made of it the repeat makes no second version. Without that header each request has an id of its own.
 */
export const requestIdOf = (
  { headers, url }: Pick<RouteRequest<string, unknown>, 'headers' | 'url'>,
  caller: Pick<Caller, 'principal'>,
  random: Pick<Random, 'uuid'>,
): string => {
  const clientId = headers['x-ms-client-request-id'];
  if (typeof clientId !== 'string' || clientId === '') return random.uuid();
  const hex = createHash('sha256')
    .update(JSON.stringify([caller.principal, clientId, url.split('?')[0]]))
    .digest('hex');
  // Version 8, variant 1 (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};
