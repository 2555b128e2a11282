import { Rejection, type RejectionCode, StoreUnavailable, VersionConflict } from '@interlock/event-store';
import { Status } from 'nice-grpc-common';
import { Any, ErrorInfo, Help, RetryInfo } from 'nice-grpc-error-details';
// google.rpc.Status itself is not part of that package's index, and it is what the trailer below carries.
import { Status as RpcStatus } from 'nice-grpc-error-details/lib/proto/google/rpc/status.js';
import { helpFor } from './help.ts';
import { RpcFailure, type StatusName } from './rpc-failure.ts';

/** Trailer in which gRPC carries a google.rpc.Status. */
export const DETAILS_TRAILER = 'grpc-status-details-bin';

/** Domain of every ErrorInfo of ours. An ErrorInfo of another domain is no response of ours. */
export const ERROR_DOMAIN = 'interlock';

/** Metadata key a rejection uses to say when to come back, in milliseconds; sent as RetryInfo too. */
export const RETRY_AFTER_MS = 'retryAfterMs';

/** What goes over the wire for an error. */
export interface WireError {
  readonly code: Status;
  readonly message: string;
  /** Encoded google.rpc.Status for the details trailer; empty where the code says it all. */
  readonly details: Uint8Array;
}

/**
 * Turns whatever a handler threw into what its caller may see. A `Rejection` travels whole; a version conflict is
 * ABORTED CONTENTION; a store that does not respond is UNAVAILABLE STORE_UNAVAILABLE; a failed call to another service is UNAVAILABLE DEPENDENCY_UNAVAILABLE, because it may succeed
 * later, also one in which that service did not take the token of this one, which the caller has nothing to do with; anything else is INTERNAL with the trace id, and its text and causes stay here (`isInternal` says to log them).
 * A rejection travels with its help (google.rpc.Help): its own, or that of its reason.
 * @param resource name in the request, for the help: a decider does not know the name of what it decides about
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

/** Whether `toWire` hides this error from the caller, so that the server has to log it. */
export const isInternal = (error: unknown): boolean => asRejection(error) === undefined;

/**
 * Turns a received status back into an error: a `Rejection` where the service itself refused, else an `RpcFailure`.
 * @param details the details trailer, where there was one
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

/** What an error says to a caller; undefined for one whose cause stays here. */
export function asRejection(error: unknown): Rejection | undefined {
  if (error instanceof Rejection) {
    // The caller's own token was taken. What comes from another service is about a token of ours.
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
  if (error instanceof StoreUnavailable) {
    return new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'the store of this service did not answer: try again');
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
 * Most bytes of a message, and of each value of its metadata and all of them together, as sent. They travel in HTTP/2 trailers,
 * the message twice: clients take 8 KiB of those by default, and Node ends the whole connection above 64 KiB. A refusal that
 * repeats a value of the request must not be as long as that value.
 */
const MESSAGE_BYTES_MAX = 1_024;
const METADATA_VALUE_BYTES_MAX = 1_024;
const METADATA_BYTES_MAX = 2_048;
const HELP_BYTES_MAX = 1_024;

/** The beginning of a text, cut between characters, with a mark where something is left out. */
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
    // Written by a proxy in between, not by a service: only the code counts.
    return {};
  }
  const valuesOf = (type: string): Uint8Array[] =>
    status.details.filter(({ typeUrl }) => typeUrl.endsWith(`/${type}`)).map(({ value }) => value);
  const infos = valuesOf(ErrorInfo.$type).map((value) => ErrorInfo.decode(value));
  const [help] = valuesOf(Help.$type).flatMap((value) => Help.decode(value).links);
  return { info: infos.find(({ domain }) => domain === ERROR_DOMAIN), help: help?.description };
}

/** Codes a refusal of ours can have. */
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
