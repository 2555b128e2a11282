import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { type Finding, operationBody } from './operation.ts';
import type { Operations } from './operations.ts';

const base = '/subscriptions/:subscription/providers/Microsoft.Compute/locations/:location';

/** Polling of operations: the status, and with `monitor=true` the reply of the call itself (REST-22, REST-23). */
export const operationRoutes = ({ operations }: { readonly operations: Operations }): readonly Route[] =>
  (['operations', 'DiskOperations'] as const).map((family) =>
    route({
      host: 'gateway',
      method: 'GET',
      path: `${base}/${family}/:id`,
      does: 'Reads the status of an operation',
      handle: async ({ params, query }, caller: Caller) => {
        const { operation, finding } = await operations.find(params.subscription, params.id, caller);
        if (query.monitor === 'true') return monitorReply(finding);
        const headers: Readonly<Record<string, string>> = finding.status === 'InProgress' ? { 'retry-after': '1' } : {};
        return { body: operationBody(operation, finding), headers };
      },
    }),
  );

const monitorReply = (finding: Finding): RouteReply => {
  if (finding.status === 'InProgress') return { status: 202, headers: { 'retry-after': '1' } };
  if (finding.status === 'Succeeded') return finding.output === null ? {} : { body: finding.output };
  const { code, message } = finding.error;
  throw new RestError(finding.httpStatus, String(code), String(message));
};
