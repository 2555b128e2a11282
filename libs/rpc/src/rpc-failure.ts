import type { Status } from 'nice-grpc-common';

/** Canonical name of a gRPC status code. */
export type StatusName = keyof typeof Status;

/**
 * A call that got no response of the service it was sent to, or one that says nothing about the request: unreachable,
 * timed out, cancelled, an internal error. **Not definite**: the request may have been carried out or not, and nothing
 * may be concluded from it. A definite refusal is a `Rejection`.
 */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure';
  readonly code: StatusName;
  /** `package.Service/Method`. */
  readonly method: string;
  /** Address the call was sent to. */
  readonly peer: string;
  /** Trace in which the peer logged the cause, where it said so. */
  readonly traceId: string | undefined;
  constructor(
    code: StatusName,
    method: string,
    peer: string,
    details: string,
    options?: ErrorOptions & { readonly traceId?: string | undefined },
  ) {
    super(`${method} at ${peer}: ${code}: ${details}`, options);
    this.code = code;
    this.method = method;
    this.peer = peer;
    this.traceId = options?.traceId;
  }
}
