import type { CallOptions, Workload } from '@interlock/rpc';
import { RestError } from '../errors/rest-error.ts';

/** Who calls: a principal, with a token of identity for each service that its own token may reach. */
export interface Caller {
  /** UUID of the principal. */
  readonly principal: string;
  /** Id of its tenant, as identity has it. */
  readonly tenant: string;
  /** Correlation id of the request, for the events that it leads to. */
  readonly correlationId: string;
  /** Options of a call to that service, as the caller. @throws RestError 401 if the caller's token does not reach the service */
  as(service: Workload): CallOptions;
}

/** Makes the caller of one request. @param tokens identity's tokens by service */
export const callerOf = (
  parts: Omit<Caller, 'as'> & { readonly tokens: Readonly<Partial<Record<Workload, string>>> },
): Caller => {
  const { tokens, ...rest } = parts;
  return {
    ...rest,
    as(service) {
      const token = tokens[service];
      if (token !== undefined) return { token, cause: { correlationId: rest.correlationId } };
      throw new RestError(401, 'InvalidAuthenticationToken', `the access token is not valid for ${service}`);
    },
  };
};
