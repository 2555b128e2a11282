import { RpcFailure } from '@interlock/rpc';
import { type Clock, systemClock } from '@interlock/runtime';

/** Pauses between two looks, in milliseconds: a tenth of the time waited so far, because each look costs the services some work. */
const pauseMs = { least: 20, most: 250 };

/**
 * Waits for a condition and checks it every 20 ms, later less often.
 * @param what describes the condition, for the error
 * @param clock of the services, if their time is not that of the system
 * @returns the first result that is neither undefined nor false
 * @throws Error that names the condition, with the last error as its cause
 */
export const until = async <Answer>(
  what: string,
  look: () => Promise<Answer | undefined | false>,
  limitMs = 90_000,
  clock: Pick<Clock, 'monotonicMs' | 'sleep'> = systemClock,
): Promise<Answer> => {
  const since = clock.monotonicMs();
  let cause: unknown;
  for (;;) {
    try {
      const answer = await look();
      if (answer !== undefined && answer !== false) return answer;
      cause = undefined;
    } catch (error) {
      // A service that is being restarted does not respond; that is no reason to stop waiting.
      cause = error;
    }
    const waitedMs = clock.monotonicMs() - since;
    if (waitedMs > limitMs) throw new Error(`after ${limitMs} ms still not: ${what}`, { cause });
    await clock.sleep(Math.max(pauseMs.least, Math.min(pauseMs.most, waitedMs / 10)));
  }
};

/** Calls of `untilAnswered`, at most: a service that never answers is a defect. */
const callsMax = 4;

/**
 * Repeats a call that may be repeated while it is not answered before its deadline: a busy machine may take longer.
 * @throws what else the call throws, and the last DEADLINE_EXCEEDED
 */
export const untilAnswered = async <Answer>(call: () => Promise<Answer>, calls = callsMax): Promise<Answer> => {
  try {
    return await call();
  } catch (error) {
    const isLate = error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED';
    if (!isLate || calls <= 1) throw error;
    return untilAnswered(call, calls - 1);
  }
};
