import type { Status } from 'nice-grpc-common';

/** Canonical name of a gRPC status code. */
export type StatusName = keyof typeof Status;

/**
 * A call without a response of the called service, or with one that does not decide the request: unreachable, timed out,
 * cancelled, an internal error. **Not definite**: the request may or may not have been carried out. A definite refusal is a
 * `Rejection`.
 */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure';
  readonly code: StatusName;
  /** `package.Service/Method`. */
  readonly method: string;
  /** Address the call was sent to. */
  readonly peer: string;
  /** Trace in which the peer logged the cause, if it sent one. */
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
