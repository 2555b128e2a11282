import type { Condition } from '../experiment.ts';
import type { Lab, Observed } from '../target.ts';

/** Time between two checks of abort conditions, in milliseconds. */
export const abortEveryMs = 250;

/** Time without a reading after which the run is aborted, in milliseconds: nothing may rely on conditions that cannot be checked. */
export const abortUnreadableMs = 2_000;

/** Time between two observations without abort conditions, and the longest time for one, in milliseconds. */
const [followEveryMs, followWithinMs] = [1_000, 30_000];

/**
 * Checks the abort conditions until one is met or the signal ends the watch. If the lab cannot be read for 2 s, that aborts too.
 * @param isMet whether a condition is met by what was observed
 * @param onSeen receives every observation, also without conditions; undefined: the run is not followed
 * @returns why to abort: the condition that was met, as in the file, or that none could be checked; undefined if nothing aborts
 */
export const watchAborts = async (
  lab: Pick<Lab, 'clock' | 'observe'>,
  conditions: readonly Condition[],
  {
    isMet,
    signal,
    onSeen,
  }: {
    readonly isMet: (condition: Condition, seen: Observed) => boolean;
    readonly signal: AbortSignal;
    readonly onSeen?: ((seen: Observed, atMs: number) => void) | undefined;
  },
): Promise<string | undefined> => {
  const canAbort = conditions.length > 0;
  if (!canAbort && onSeen === undefined) return undefined;
  const { clock } = lab;
  let readAtMs = clock.monotonicMs();
  let failure = 'it did not respond';
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    const atMs = clock.now();
    const withinMs = canAbort ? abortUnreadableMs - (startedMs - readAtMs) : followWithinMs;
    const read = await reading(lab, withinMs, signal);
    if (signal.aborted) break;
    if ('seen' in read) {
      readAtMs = startedMs;
      onSeen?.(read.seen, atMs);
      const met = conditions.find((condition) => isMet(condition, read.seen));
      if (met) return met.text;
    } else {
      failure = read.failure ?? failure;
    }
    if (canAbort && clock.monotonicMs() - readAtMs >= abortUnreadableMs) {
      return `the abort conditions could not be checked for ${abortUnreadableMs / 1000} s: ${failure}`;
    }
    await clock.sleep(canAbort ? abortEveryMs : followEveryMs, signal);
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
