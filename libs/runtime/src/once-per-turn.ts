/**
 * Combines the calls of one turn of the event loop into one run.
 * @param schedule `queueMicrotask` runs it after the code of this turn, before any other callback; `setImmediate` runs it after
 *   the callbacks that are due now
 * @returns plans the run, unless it is planned already
 */
export const oncePerTurn = (
  run: () => void,
  schedule: (callback: () => void) => unknown = queueMicrotask,
): (() => void) => {
  let isPlanned = false;
  const runPlanned = (): void => {
    isPlanned = false;
    run();
  };
  return () => {
    if (isPlanned) return;
    isPlanned = true;
    schedule(runPlanned);
  };
};
