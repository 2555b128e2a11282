/**
 * Runs `work` on every item that a source yields, at most `limit` at once, and waits for all. Nothing more is asked of the
 * source once one has failed. @throws the first error, once all have ended
 */
export const forEachBounded = async <Item>(
  items: AsyncGenerator<Item>,
  limit: number,
  work: (item: Item) => Promise<void>,
): Promise<void> => {
  const worker = async (): Promise<void> => {
    for await (const item of items) await work(item);
  };
  const ended = await Promise.allSettled(Array.from({ length: limit }, worker));
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
};
