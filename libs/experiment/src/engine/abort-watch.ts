import type { Condition } from '../experiment.ts';
import type { Lab, Observed } from '../target.ts';

/** Time between two checks of abort conditions, in milliseconds. */
export const abortEveryMs = 250;

/**
 * Checks the abort conditions until one is met or the signal ends the watch.
 * @param isMet whether a condition is met by what was observed
 * @returns the condition that was met, as in the file; undefined if none was
 */
export const watchAborts = async (
  lab: Pick<Lab, 'clock' | 'observe'>,
  conditions: readonly Condition[],
  {
    isMet,
    signal,
  }: { readonly isMet: (condition: Condition, seen: Observed) => boolean; readonly signal: AbortSignal },
): Promise<string | undefined> => {
  if (conditions.length === 0) return undefined;
  while (!signal.aborted) {
    const seen = await observedNow(lab);
    const met = seen && conditions.find((condition) => isMet(condition, seen));
    if (met && !signal.aborted) return met.text;
    await lab.clock.sleep(abortEveryMs, signal);
  }
  return undefined;
};

/** During a fault the lab may not be readable: the next check is 250 ms later. The end of the run reads it again, or fails. */
const observedNow = (lab: Pick<Lab, 'observe'>): Promise<Observed | undefined> => lab.observe().catch(() => undefined);
