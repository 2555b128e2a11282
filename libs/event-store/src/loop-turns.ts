/** Resolves when the caller may start, in the order of the calls. */
export type LoopTurns = () => Promise<void>;

/**
 * Lets large pieces of work start one per turn of the event loop, so that other callbacks run between them. Several pages of a
 * fleet that arrive together would otherwise be processed in one turn, and block everything else at each of their steps.
 */
export const openLoopTurns = (): LoopTurns => {
  const waiting: (() => void)[] = [];
  const startNext = (): void => {
    waiting.shift()?.();
    if (waiting.length > 0) setImmediate(startNext);
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      // Each later one is scheduled by the one before it.
      if (waiting.length === 1) setImmediate(startNext);
    });
};
