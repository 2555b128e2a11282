import type { ItemOrigin } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { Rejection } from '@interlock/event-store';
import { CallMetadata, type ItemOutcome, settleItems } from '@interlock/rpc';
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

/**
 * Opens it. All items of a batch begin at once, so that they share looks, RSA messages and commits of the record; each is
 * judged, recorded and answered as if it had come alone.
 */
export const openEachItem =
  (log: Logger): EachItem =>
  (items, call, handle) =>
    settleItems(items, { sizeMax: batchMax, log }, async (item) => handle(item, onBehalfOf(call, item.origin)));

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
