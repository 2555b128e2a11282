import { type Cause, Rejection, readEvent, Trail } from '@interlock/event-store';
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

/** What the caller may see of what went wrong with an item: the same as `toWire` would say of a call. */
export const itemRefusal = (error: unknown): ItemRefusal => {
  const { code, reason, message, metadata } = asRejection(error) ?? internal;
  return { code: Status[code], reason, message, metadata };
};

/** What a call for this item alone would have thrown: a `Rejection`, or an `RpcFailure` where the service itself failed. */
export const itemError = (
  { code, reason, message, metadata }: ItemRefusal,
  call: { readonly method: string; readonly peer: string },
): Rejection | RpcFailure => {
  const rejectionCode = REJECTION_CODES.find((candidate) => Status[candidate] === code);
  return rejectionCode === undefined
    ? new RpcFailure(statusName(code), call.method, call.peer, message)
    : new Rejection(rejectionCode, reason, message, metadata);
};

/** Whether the service could not deal with the item now and says nothing about it. */
export const isUnavailable = ({ code }: Pick<ItemRefusal, 'code'>): boolean => code === Status.UNAVAILABLE;

/** What became of an item. */
export type ItemOutcome<Answer> = { readonly answer: Answer } | { readonly refused: ItemRefusal };

/** The outcome of one item, before it is returned. */
export type Settled<Answer> = { readonly answer: Answer } | { readonly error: unknown };

/** What there is to say about a batch. */
export interface BatchLimits {
  /** Most items of one call. */
  readonly sizeMax: number;
  /** Field of the request that holds them. */
  readonly field?: string;
  readonly log: Logger;
}

/**
 * Deals with every item of a batch by itself, as if it had come alone; all begin at once.
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
 * Deals with a batch in one go: what is the same for its items is done once. Each has an outcome of its own all the same.
 * @param handle returns the outcomes, in their order
 * @throws Rejection INVALID_ARGUMENT BATCH_SIZE_INVALID; what the first item failed with where none could be dealt with now, so that
 *   the call may be repeated as one for it alone would be
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
    // A call alone would have been logged so.
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
  /** `''`: that of the call. */
  readonly correlationId: string;
  /** W3C trace context; `''`: that of the call. */
  readonly traceparent: string;
  /** The event that led to the item, as `writeEvent` has it; `''`: that of the call. */
  readonly cause: string;
}

/** The cause of a call as the item's own work would have had it. @throws Rejection INVALID_ARGUMENT METADATA_INVALID */
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
    trail: new Trail(),
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
