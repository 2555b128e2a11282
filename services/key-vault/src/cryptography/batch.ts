import { type ItemOrigin, type ItemOutcome, onBehalfOf, type Settled, settleTogether } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import type { Asked, Asking } from '../audit/log.ts';

/** Most items of one batch: the largest keys need a tenth of a second for so many on two cores. */
export const batchMax = 256;

/** Settles the items of a batch: they are judged, recorded and answered as if each had come alone. */
export type SettleBatch = <Item extends { readonly origin: ItemOrigin | undefined }, Request, Answer>(
  items: readonly Item[],
  call: Asking,
  requestOf: (item: Item) => Request,
  handle: (asked: readonly Asked<Request>[]) => Promise<readonly Settled<Answer>[]>,
) => Promise<readonly ItemOutcome<Answer>[]>;

/** Opens it. The items of a batch are handled in one go, so that they share looks, RSA messages and commits of the record. */
export const openSettleBatch =
  (log: Logger): SettleBatch =>
  (items, call, requestOf, handle) =>
    settleTogether(items, { sizeMax: batchMax, log }, () =>
      settleReady(items, (item) => ({ request: requestOf(item), call: askingFor(call, item.origin) }), handle),
    );

const askingFor = (call: Asking, origin: ItemOrigin | undefined): Asking => {
  if (origin === undefined) return call;
  const { caller, peer, cause } = call;
  return { caller, peer, cause: onBehalfOf(cause, origin) };
};

/**
 * Readies each of a list and settles all that are ready together.
 * @param ready throws for one that goes no further. @returns what became of each, in the order of the list
 */
export const settleReady = async <Item, Ready, Answer>(
  items: readonly Item[],
  ready: (item: Item) => Ready,
  settle: (items: readonly Ready[]) => Promise<readonly Settled<Answer>[]>,
): Promise<readonly Settled<Answer>[]> => {
  const failed = new Map<number, Settled<Answer>>();
  const goingOn: Ready[] = [];
  for (const [place, item] of items.entries()) {
    try {
      goingOn.push(ready(item));
    } catch (error) {
      failed.set(place, { error });
    }
  }
  const settled = goingOn.length === 0 ? [] : await settle(goingOn);
  if (failed.size === 0) return settled;
  const rest = settled.values();
  return items.flatMap((_, place) => failed.get(place) ?? rest.next().value ?? []);
};
