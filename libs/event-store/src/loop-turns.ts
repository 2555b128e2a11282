/** Resolves when a piece of work may begin, in the order of the calls. */
export type LoopTurns = () => Promise<void>;

/**
 * Lets pieces of work in bulk begin one a turn of the event loop, so that what others ask for meanwhile is served between two
 * of them. Several pages of fleets that arrive together would be worked on in one turn, for which everybody waits, and again at
 * each step of what they do.
 */
export const openLoopTurns = (): LoopTurns => {
  const waiting: (() => void)[] = [];
  const begin = (): void => {
    waiting.shift()?.();
    if (waiting.length > 0) setImmediate(begin);
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      // Its own turn is planned with the first that waits, and each of the others by the one before it.
      if (waiting.length === 1) setImmediate(begin);
    });
};
