import { type Cause, CauseTracker, Rejection, readEvent } from '@interlock/event-store';
import { type Logger, traceIdOf } from '@interlock/runtime';
import { Status } from 'nice-grpc-common';
import { CallMetadata } from './call.ts';
import { asRejection, isInternal, REJECTION_CODES, statusName } from './errors.ts';
import { RpcFailure } from './rpc-failure.ts';

/** Why one item of a batch was refused or failed, as `interlock.access.v1.ItemRefusal` has it. */
export interface ItemRefusal {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the caller sees of the error of an item: the same as `toWire` gives for a call. */
export const itemRefusal = (error: unknown): ItemRefusal => {
  const { code, reason, message, metadata } = asRejection(error) ?? internal;
  return { code: Status[code], reason, message, metadata };
};

/** The error that a call for this item alone would have thrown: a `Rejection`, or an `RpcFailure` if the service itself failed. */
export const itemError = (
  { code, reason, message, metadata }: ItemRefusal,
  call: { readonly method: string; readonly peer: string },
): Rejection | RpcFailure => {
  const rejectionCode = REJECTION_CODES.find((candidate) => Status[candidate] === code);
  return rejectionCode === undefined
    ? new RpcFailure(statusName(code), call.method, call.peer, message)
    : new Rejection(rejectionCode, reason, message, metadata);
};

/** Whether the service could not handle the item now, without a decision about it. */
export const isUnavailable = ({ code }: Pick<ItemRefusal, 'code'>): boolean => code === Status.UNAVAILABLE;

/** Outcome of an item. */
export type ItemOutcome<Answer> = { readonly answer: Answer } | { readonly refused: ItemRefusal };

/** The outcome of one item, before it is returned. */
export type Settled<Answer> = { readonly answer: Answer } | { readonly error: unknown };

/** Limits of a batch. */
export interface BatchLimits {
  /** Most items of one call. */
  readonly sizeMax: number;
  /** Request field with the items. */
  readonly field?: string;
  readonly log: Logger;
}

/**
 * Handles each item of a batch separately, as if it were a call of its own; all start at once.
 * @throws Rejection as `settleTogether`
 */
export const settleItems = <Item, Answer>(
  items: readonly Item[],
  limits: BatchLimits,
  handle: (item: Item) => Promise<Answer>,
): Promise<readonly ItemOutcome<Answer>[]> =>
  settleTogether(items, limits, () =>
    Promise.all(
      items.map(async (item) => {
        try {
          return { answer: await handle(item) };
        } catch (error) {
          return { error };
        }
      }),
    ),
  );

/**
 * Handles a batch at once, so that shared work is done once. Each item still has its own outcome.
 * @param handle returns the outcomes, in their order
 * @throws Rejection INVALID_ARGUMENT BATCH_SIZE_INVALID; the error of the first item if none could be handled now, so that the
 *   caller retries as it would for that item alone
 */
export const settleTogether = async <Item, Answer>(
  items: readonly Item[],
  { sizeMax, field = 'items', log }: BatchLimits,
  handle: (items: readonly Item[]) => Promise<readonly Settled<Answer>[]>,
): Promise<readonly ItemOutcome<Answer>[]> => {
  if (items.length === 0 || items.length > sizeMax) throw batchSizeInvalid(items.length, sizeMax, field);
  const errors: unknown[] = [];
  const outcomes = (await handle(items)).map((settled): ItemOutcome<Answer> => {
    if ('answer' in settled) return settled;
    const { error } = settled;
    // As for a single call.
    if (isInternal(error)) log.error('an item of a batch failed', { error });
    const refused = itemRefusal(error);
    if (isUnavailable(refused)) errors.push(error);
    return { refused };
  });
  if (errors.length === items.length) throw errors[0];
  return outcomes;
};

/** The work an item of a batch belongs to, as `interlock.access.v1.ItemOrigin` has it. */
export interface ItemOrigin {
  /** Empty: that of the call. */
  readonly correlationId: string;
  /** W3C trace context; empty: that of the call. */
  readonly traceparent: string;
  /** The event that led to the item, in the form of `writeEvent`; empty: that of the call. */
  readonly cause: string;
}

/** The cause of an item: that of the call with the item's own origin. @throws Rejection INVALID_ARGUMENT METADATA_INVALID */
export const onBehalfOf = (cause: Cause, origin: ItemOrigin | undefined): Cause => {
  if (origin === undefined) return cause;
  const { correlationId, traceparent, cause: event } = origin;
  if (!/^[0-9A-Za-z_-]{0,64}$/.test(correlationId))
    throw originInvalid(CallMetadata.correlationId, 'up to 64 letters, digits, "-" or "_"');
  if (traceparent !== '' && traceIdOf(traceparent) === undefined)
    throw originInvalid(CallMetadata.traceparent, 'a W3C trace context');
  return {
    ...cause,
    ...(correlationId === '' ? {} : { correlationId }),
    ...(traceparent === '' ? {} : { traceparent }),
    ...(event === '' ? {} : { causes: [{ id: readEvent(event), kind: 'call' }] }),
    tracker: new CauseTracker(),
  };
};

const originInvalid = (key: string, expected: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'METADATA_INVALID', `the origin of an item must be ${expected}`, { key });

const batchSizeInvalid = (size: number, limit: number, field: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'BATCH_SIZE_INVALID', `a batch has 1 to ${limit} items, not ${size}`, {
    field,
    size: String(size),
    limit: String(limit),
  });

const internal = { code: 'INTERNAL', reason: 'INTERNAL', message: 'internal error', metadata: {} } as const;
