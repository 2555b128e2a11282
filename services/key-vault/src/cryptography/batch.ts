import { type ItemOrigin, type ItemOutcome, onBehalfOf, settleItems } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
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
    settleItems(items, { sizeMax: batchMax, log }, async (item) => {
      const { caller, peer, cause } = call;
      return handle(item, { caller, peer, cause: onBehalfOf(cause, item.origin) });
    });
