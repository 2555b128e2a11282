import type { Settled } from '@interlock/rpc';

/** Most items of one batch: with the largest keys so many need a tenth of a second on two cores. */
export const batchMax = 256;

/**
 * Prepares each item and settles all that could be prepared in one call.
 * @param prepare throws for an item that is refused
 * @returns the outcome of each item, in their order
 */
export const settleReady = async <Item, Ready, Answer>(
  items: readonly Item[],
  prepare: (item: Item) => Ready,
  settle: (items: readonly Ready[]) => Promise<readonly Settled<Answer>[]>,
): Promise<readonly Settled<Answer>[]> => {
  const failed = new Map<number, Settled<Answer>>();
  const ready: Ready[] = [];
  for (const [index, item] of items.entries()) {
    try {
      ready.push(prepare(item));
    } catch (error) {
      failed.set(index, { error });
    }
  }
  const settled = ready.length === 0 ? [] : await settle(ready);
  if (failed.size === 0) return settled;
  const rest = settled.values();
  return items.flatMap((_, index) => failed.get(index) ?? rest.next().value ?? []);
};
