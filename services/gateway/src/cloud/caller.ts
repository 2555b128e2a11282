import { type CallOptions, stateClientAddress, type Workload } from '@interlock/rpc';
import type { CallOptions as NiceCallOptions } from 'nice-grpc-common';
import { RestError } from '../errors/rest-error.ts';

/** Who calls: a principal, with a token of identity for each service that its own token may reach. */
export interface Caller {
  /** UUID of the principal. */
  readonly principal: string;
  /** Id of its tenant, as identity has it. */
  readonly tenant: string;
  /** Correlation id of the request, for the events that it leads to. */
  readonly correlationId: string;
  /** Network address that it calls from. */
  readonly address: string;
  /** Options of a call to that service, as the caller. @throws RestError 401 if the caller's token does not reach the service */
  as(service: Workload): CallOptions & Pick<NiceCallOptions, 'metadata'>;
}

/** Makes the caller of one request. @param tokens identity's tokens by service */
export const callerOf = (
  parts: Omit<Caller, 'as'> & {
    readonly tokens: Readonly<Partial<Record<Workload, string>>>;
    /** Proves the address of the client to key-vault; undefined: it is not stated. */
    readonly clientAddressKey?: string | undefined;
  },
): Caller => {
  const { tokens, clientAddressKey: key, ...rest } = parts;
  return {
    ...rest,
    as(service) {
      const token = tokens[service];
      const cause = { correlationId: rest.correlationId };
      if (token !== undefined && service === 'key-vault' && key !== undefined)
        return { token, cause, metadata: stateClientAddress(key, rest.address) };
      if (token !== undefined) return { token, cause };
      throw new RestError(401, 'InvalidAuthenticationToken', `the access token is not valid for ${service}`);
    },
  };
};
