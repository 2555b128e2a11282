import { type Clock, systemClock } from '@interlock/runtime';

/**
 * Waits for a condition and checks it every 20 ms.
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
  const deadline = clock.monotonicMs() + limitMs;
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
    if (clock.monotonicMs() > deadline) throw new Error(`after ${limitMs} ms still not: ${what}`, { cause });
    await clock.sleep(20);
  }
};
