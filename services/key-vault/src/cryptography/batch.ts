import type { ItemRefusal as WireRefusal } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { ItemOrigin } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { Rejection } from '@interlock/event-store';
import { CallMetadata, isInternal, isUnavailable, itemRefusal } from '@interlock/rpc';
import { type Logger, traceIdOf } from '@interlock/runtime';
import type { Asking } from '../audit/log.ts';

/** Most items of one batch: the largest keys need a tenth of a second for so many on two cores. */
export const batchMax = 256;

/** Settles every item of a batch by itself. */
export type EachItem = <Item extends { readonly origin: ItemOrigin | undefined }, Answer>(
  items: readonly Item[],
  call: Asking,
  handle: (item: Item, call: Asking) => Promise<Answer>,
) => Promise<readonly ItemOutcome<Answer>[]>;

/** What became of an item. */
export type ItemOutcome<Answer> = { readonly answer: Answer } | { readonly refused: WireRefusal };

/**
 * Opens it. All items of a batch begin at once, so that they share looks, RSA messages and commits of the record; each is
 * judged, recorded and answered as if it had come alone.
 */
export const openEachItem =
  (log: Logger): EachItem =>
  async (items, call, handle) => {
    if (items.length === 0 || items.length > batchMax) throw batchSizeInvalid(items.length);
    const errors: unknown[] = [];
    const outcomes = await Promise.all(
      items.map(async (item) => {
        try {
          return { answer: await handle(item, onBehalfOf(call, item.origin)) };
        } catch (error) {
          // A call alone would have been logged so.
          if (isInternal(error)) log.error('an item of a batch failed', { error });
          const refused = { ...itemRefusal(error) };
          if (isUnavailable(refused)) errors.push(error);
          return { refused };
        }
      }),
    );
    // Nothing was dealt with, so the call may be repeated as one alone would be.
    if (errors.length === items.length) throw errors[0];
    return outcomes;
  };

/** The call as the item's own work would have made it. @throws Rejection INVALID_ARGUMENT METADATA_INVALID */
const onBehalfOf = (call: Asking, origin: ItemOrigin | undefined): Asking => {
  const { correlationId = '', traceparent = '' } = origin ?? {};
  if (correlationId === '' && traceparent === '') return call;
  if (!/^[0-9A-Za-z_-]{0,64}$/.test(correlationId))
    throw originInvalid(CallMetadata.correlationId, 'up to 64 letters, digits, "-" or "_"');
  if (traceparent !== '' && traceIdOf(traceparent) === undefined)
    throw originInvalid(CallMetadata.traceparent, 'a W3C trace context');
  const { caller, peer, cause } = call;
  return {
    caller,
    peer,
    cause: {
      ...cause,
      ...(correlationId === '' ? {} : { correlationId }),
      ...(traceparent === '' ? {} : { traceparent }),
    },
  };
};

const originInvalid = (key: string, expected: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'METADATA_INVALID', `the origin of an item must be ${expected}`, { key });

const batchSizeInvalid = (size: number): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'BATCH_SIZE_INVALID', `a batch has 1 to ${batchMax} items, not ${size}`, {
    field: 'items',
    size: String(size),
    limit: String(batchMax),
  });
