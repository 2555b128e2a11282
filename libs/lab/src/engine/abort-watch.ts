import type { Condition } from '../experiment.ts';
import type { Lab, Observed } from '../target.ts';

/** Time between two checks of abort conditions, in milliseconds. */
export const abortEveryMs = 250;

/** Time without a reading after which the run is aborted, in milliseconds: nothing may rely on conditions that cannot be checked. */
export const abortUnreadableMs = 2_000;

/**
 * Checks the abort conditions until one is met or the signal ends the watch. If the lab cannot be read for 2 s, that aborts too.
 * @param isMet whether a condition is met by what was observed
 * @returns why to abort: the condition that was met, as in the file, or that none could be checked; undefined if nothing aborts
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
  const { clock } = lab;
  let readAtMs = clock.monotonicMs();
  let failure = 'it did not respond';
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    const read = await reading(lab, abortUnreadableMs - (startedMs - readAtMs), signal);
    if (signal.aborted) break;
    if ('seen' in read) {
      readAtMs = startedMs;
      const met = conditions.find((condition) => isMet(condition, read.seen));
      if (met) return met.text;
    } else {
      failure = read.failure ?? failure;
    }
    if (clock.monotonicMs() - readAtMs >= abortUnreadableMs) {
      return `the abort conditions could not be checked for ${abortUnreadableMs / 1000} s: ${failure}`;
    }
    await clock.sleep(abortEveryMs, signal);
  }
  return undefined;
};

/** One reading of the lab. @returns without `seen`: it failed, or did not end within the time */
const reading = async (
  lab: Pick<Lab, 'clock' | 'observe'>,
  withinMs: number,
  signal: AbortSignal,
): Promise<{ readonly seen: Observed } | { readonly failure?: string }> => {
  const isOver = new AbortController();
  const observed = lab.observe().then(
    (seen) => ({ seen }),
    (error: unknown) => ({ failure: error instanceof Error ? error.message : String(error) }),
  );
  const late = lab.clock.sleep(Math.max(0, withinMs), signal, isOver.signal).then(() => ({}));
  try {
    return await Promise.race([observed, late]);
  } finally {
    isOver.abort();
  }
};
