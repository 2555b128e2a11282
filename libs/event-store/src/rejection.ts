/** Canonical codes (google.rpc.Code) of rejections. Callers handle each of them differently. */
export type RejectionCode =
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'UNAUTHENTICATED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'RESOURCE_EXHAUSTED'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNIMPLEMENTED';

/**
 * A valid request that a rule refuses: the only error that a decider throws. `reason` is stable and machine-readable
 * (UPPER_SNAKE_CASE, listed in docs/errors.md); every value in the message is also in `metadata`.
 */
export class Rejection extends Error {
  override readonly name = 'Rejection';
  readonly code: RejectionCode;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What the caller can do, where that is more than the reason's own help. */
  readonly help: string | undefined;
  constructor(
    code: RejectionCode,
    reason: string,
    message: string,
    metadata: Readonly<Record<string, string>> = {},
    options?: ErrorOptions & { readonly help?: string | undefined },
  ) {
    super(message, options);
    this.code = code;
    this.reason = reason;
    this.metadata = metadata;
    this.help = options?.help;
  }
  /** Whether the same request may succeed later without a change. */
  retryable(): boolean {
    return this.code === 'UNAVAILABLE' || this.code === 'ABORTED' || this.code === 'RESOURCE_EXHAUSTED';
  }
}
