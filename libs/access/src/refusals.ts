import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type LossReason, lossReasonOf } from './reasons.ts';

/** Reasons of key-vault's refusals that are a loss for a set under another name. */
const synonyms: Readonly<Record<string, LossReason>> = {
  KEY_NOT_FOUND: 'KEY_VERSION_NOT_FOUND',
  VAULT_NOT_FOUND: 'VAULT_DELETED',
  // The owner removed the operation from the version after the check: the wrap or unwrap itself is refused (KV-88).
  KEY_OPERATION_NOT_ALLOWED: 'ACCESS_DENIED',
};

/**
 * The loss reason of a refused call. Undefined if the error says nothing about the key: not a refusal, an outage, throttled,
 * or a token that was not accepted.
 */
export const lossReasonIn = (error: unknown): LossReason | undefined =>
  error instanceof Rejection && !error.retryable() && error.code !== 'UNAUTHENTICATED'
    ? (lossReasonOf(error.reason) ?? synonyms[error.reason])
    : undefined;

/** Facts in a refusal about its loss of access. */
export interface RefusalFacts {
  /** Undefined if the refusal does not say. */
  readonly accessEpoch: number | undefined;
  readonly since: Instant | undefined;
  /** Trace of the commit that took access away: 32 hexadecimal digits. */
  readonly traceId: string | undefined;
  /** W3C trace context of that commit. */
  readonly traceparent: string | undefined;
  /** Id of the event of that commit, and its correlation id: events that follow from the loss have both. */
  readonly event: string | undefined;
  readonly correlationId: string | undefined;
}

/** Reads the metadata of a refusal; see `refusalMetadata` for the other direction. */
export const refusalFacts = ({ metadata }: Rejection): RefusalFacts => {
  const { access_epoch: epoch = '', since = '', trace_id: traceId, traceparent, event } = metadata;
  const sinceAt = Date.parse(since);
  return {
    accessEpoch: /^\d{1,15}$/.test(epoch) ? Number(epoch) : undefined,
    since: Number.isNaN(sinceAt) ? undefined : sinceAt,
    traceId,
    traceparent,
    event,
    correlationId: metadata.correlation_id,
  };
};

/** The metadata of a refusal, without unknown facts. */
export const refusalMetadata = (facts: Partial<RefusalFacts>): Record<string, string> => {
  const { accessEpoch, since, traceId, traceparent, event, correlationId } = facts;
  return {
    ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
    ...(traceId ? { trace_id: traceId } : {}),
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(event === undefined ? {} : { event }),
    ...(correlationId === undefined ? {} : { correlation_id: correlationId }),
    ...(accessEpoch === undefined ? {} : { access_epoch: String(accessEpoch) }),
  };
};
