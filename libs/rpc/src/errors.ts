import { Rejection, type RejectionCode, StoreUnavailable, VersionConflict } from '@interlock/event-store';
import { isSpaceError } from '@interlock/runtime';
import { Status } from 'nice-grpc-common';
import { Any, ErrorInfo, Help, RetryInfo } from 'nice-grpc-error-details';
// The index of that package does not export google.rpc.Status, which the trailer below carries.
import { Status as RpcStatus } from 'nice-grpc-error-details/lib/proto/google/rpc/status.js';
import { helpFor } from './help.ts';
import { RpcFailure, type StatusName } from './rpc-failure.ts';

/** Trailer in which gRPC carries a google.rpc.Status. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';

/** Domain of our ErrorInfo. One of another domain does not come from our services. */
export const ERROR_DOMAIN = 'interlock';

/** Metadata key with the time until a retry makes sense, in milliseconds; sent as RetryInfo too. */
export const RETRY_AFTER_MS = 'retryAfterMs';

/** An error as it is sent. */
export interface WireError {
  readonly code: Status;
  readonly message: string;
  /** Encoded google.rpc.Status for the details trailer; empty if there is only a code. */
  readonly details: Uint8Array;
}

/**
 * Turns the error of a handler into the one that its caller may see:
 *
 * - A `Rejection` is sent completely, with its help (google.rpc.Help): its own, or that of its reason.
 * - A version conflict is ABORTED CONTENTION.
 * - A store that does not respond is UNAVAILABLE STORE_UNAVAILABLE.
 * - A file of this service without space is RESOURCE_EXHAUSTED STORAGE_FULL.
 * - A failed call to another service is UNAVAILABLE DEPENDENCY_UNAVAILABLE, because it may succeed later. So is a refusal of this
 *   service's own token, which is not the caller's fault.
 * - Anything else is INTERNAL with the trace id. Its text and causes are not sent (log them: `isInternal`).
 * @param resource name in the request, for the help: a decider does not know the name of its resource
 */
export function toWire(error: unknown, traceId: string | undefined, resource?: string): WireError {
  const rejection = asRejection(error);
  if (rejection !== undefined) {
    const { code, message, reason, metadata } = rejection;
    const help = rejection.help ?? helpFor(reason, resource === undefined ? metadata : { ...metadata, resource });
    return encode(Status[code], message, reason, { ...metadata }, help);
  }
  return encode(
    Status.INTERNAL,
    traceId === undefined ? 'internal error' : `internal error; its cause is in the log of trace ${traceId}`,
    'INTERNAL',
    traceId === undefined ? {} : { trace: traceId },
  );
}

/** Whether the caller does not see all of this error, so that the server has to log it: which file has no space, for example. */
export const isInternal = (error: unknown): boolean => {
  const isOfFile = isSpaceError(error) && !(error instanceof Rejection) && !(error instanceof StoreUnavailable);
  return isOfFile || asRejection(error) === undefined;
};

/**
 * Turns a received status into an error: a `Rejection` if the service itself refused, otherwise an `RpcFailure`.
 * @param details the details trailer, if there was one
 */
export function fromWire(
  code: Status,
  message: string,
  details: Uint8Array | undefined,
  call: { readonly method: string; readonly peer: string; readonly cause?: unknown },
): Rejection | RpcFailure {
  const { info, help } = details === undefined ? {} : detailsIn(details);
  const rejectionCode = REJECTION_CODES.find((candidate) => Status[candidate] === code);
  const failure = new RpcFailure(statusName(code), call.method, call.peer, message, {
    ...(call.cause === undefined ? {} : { cause: call.cause }),
    traceId: info?.metadata.trace,
  });
  if (info === undefined || rejectionCode === undefined) return failure;
  return new Rejection(rejectionCode, info.reason, message, info.metadata, { cause: failure, help });
}

/** Canonical name of a numeric status; `UNKNOWN` for a number gRPC does not define. */
export const statusName = (code: Status): StatusName => STATUS_NAMES.find((name) => Status[name] === code) ?? 'UNKNOWN';

/** An error as a rejection for the caller; undefined for an internal one. */
export function asRejection(error: unknown): Rejection | undefined {
  if (error instanceof Rejection) {
    // The caller's own token was accepted: such a refusal by another service concerns a token of this service.
    if (error.code !== 'UNAUTHENTICATED' || !(error.cause instanceof RpcFailure)) return error;
    return new Rejection(
      'UNAVAILABLE',
      'DEPENDENCY_UNAVAILABLE',
      `another service did not take the token of this one (${error.cause.method}: ${error.reason}): try again`,
      { method: error.cause.method, code: error.code },
    );
  }
  if (error instanceof VersionConflict) {
    return new Rejection(
      'ABORTED',
      'CONTENTION',
      'too many writers changed this at the same time: read it again and repeat',
      {
        streams: error.streams.join(','),
      },
    );
  }
  if (error instanceof StoreUnavailable && error.isFull) {
    const message = 'the store of this service has no space left: try again when there is some';
    const help = 'An operator frees disk space of Postgres, or enlarges its volume. Then repeat the call';
    return new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', message, { store: 'FULL' }, { help });
  }
  if (error instanceof StoreUnavailable) {
    return new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'the store of this service did not answer: try again');
  }
  if (isSpaceError(error)) {
    const message = 'this service has no space left for its files: try again when there is some';
    return new Rejection('RESOURCE_EXHAUSTED', 'STORAGE_FULL', message);
  }
  if (error instanceof RpcFailure && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED')) {
    return new Rejection(
      'UNAVAILABLE',
      'DEPENDENCY_UNAVAILABLE',
      `another service did not answer (${error.method}: ${error.code}): try again`,
      { method: error.method, code: error.code },
    );
  }
  return undefined;
}

/**
 * Most bytes of a message, of each metadata value, and of all metadata values together, as sent. They are sent in HTTP/2 trailers,
 * the message twice. Clients accept 8 KiB of trailers by default, and Node ends the whole connection above 64 KiB. So a refusal
 * that quotes a value of the request is shortened.
 */
const MESSAGE_BYTES_MAX = 1_024;
const METADATA_VALUE_BYTES_MAX = 1_024;
const METADATA_BYTES_MAX = 2_048;
const HELP_BYTES_MAX = 1_024;

/** The start of a text, cut between characters, with a mark if something is left out. */
function shortened(text: string, bytesMax: number): string {
  // Percent-encoding fails for half of a surrogate pair.
  const whole = text.toWellFormed();
  if (Buffer.byteLength(whole) <= bytesMax) return whole;
  const { read } = new TextEncoder().encodeInto(whole, new Uint8Array(bytesMax - Buffer.byteLength('…')));
  return `${whole.slice(0, read)}…`;
}

function shortenedMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  let left = METADATA_BYTES_MAX;
  const kept: [key: string, value: string][] = [];
  for (const [key, value] of Object.entries(metadata)) {
    const room = left - Buffer.byteLength(key);
    if (room < METADATA_VALUE_BYTES_MIN) break;
    const fitting = shortened(String(value), Math.min(METADATA_VALUE_BYTES_MAX, room));
    left = room - Buffer.byteLength(fitting);
    kept.push([key, fitting]);
  }
  return Object.fromEntries(kept);
}

/** A value with less room than this is left out. */
const METADATA_VALUE_BYTES_MIN = 64;

function encode(code: Status, whole: string, reason: string, given: Record<string, string>, help?: string): WireError {
  const message = shortened(whole, MESSAGE_BYTES_MAX);
  const metadata = shortenedMetadata(given);
  const details = [
    any(ErrorInfo.$type, ErrorInfo.encode({ $type: ErrorInfo.$type, reason, domain: ERROR_DOMAIN, metadata })),
  ];
  const retryAfterMs = Number(metadata[RETRY_AFTER_MS]);
  if (Number.isFinite(retryAfterMs)) {
    const retryDelay = { seconds: Math.floor(retryAfterMs / 1_000), nanos: (retryAfterMs % 1_000) * 1_000_000 };
    details.push(any(RetryInfo.$type, RetryInfo.encode(RetryInfo.fromPartial({ retryDelay }))));
  }
  if (help !== undefined) {
    const links = [{ description: shortened(help, HELP_BYTES_MAX) }];
    details.push(any(Help.$type, Help.encode(Help.fromPartial({ links }))));
  }
  return { code, message, details: RpcStatus.encode({ $type: RpcStatus.$type, code, message, details }).finish() };
}

const any = (type: string, writer: { finish(): Uint8Array }): Any => ({
  $type: Any.$type,
  typeUrl: `type.googleapis.com/${type}`,
  value: writer.finish(),
});

function detailsIn(bytes: Uint8Array): { readonly info?: ErrorInfo | undefined; readonly help?: string | undefined } {
  let status: RpcStatus;
  try {
    status = RpcStatus.decode(bytes);
  } catch {
    // From a proxy, not from a service: only the code is used.
    return {};
  }
  const valuesOf = (type: string): Uint8Array[] =>
    status.details.filter(({ typeUrl }) => typeUrl.endsWith(`/${type}`)).map(({ value }) => value);
  const infos = valuesOf(ErrorInfo.$type).map((value) => ErrorInfo.decode(value));
  const [help] = valuesOf(Help.$type).flatMap((value) => Help.decode(value).links);
  return { info: infos.find(({ domain }) => domain === ERROR_DOMAIN), help: help?.description };
}

/** Codes of our refusals. */
export const REJECTION_CODES: readonly RejectionCode[] = [
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'RESOURCE_EXHAUSTED',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNIMPLEMENTED',
];

const STATUS_NAMES: readonly StatusName[] = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  ...REJECTION_CODES,
];
