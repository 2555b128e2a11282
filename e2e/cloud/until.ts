import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for a condition and checks it every 20 ms.
 * @param what describes the condition, for the error
 * @returns the first result that is neither undefined nor false
 * @throws Error that names the condition, with the last error as its cause
 */
export const until = async <Answer>(
  what: string,
  look: () => Promise<Answer | undefined | false>,
  limitMs = 90_000,
): Promise<Answer> => {
  const deadline = performance.now() + limitMs;
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
    if (performance.now() > deadline) throw new Error(`after ${limitMs} ms still not: ${what}`, { cause });
    await sleep(20);
  }
};
