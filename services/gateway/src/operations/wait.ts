import type { Clock } from '@interlock/runtime';
import { RestError } from '../errors/rest-error.ts';

/** Waits between two reads, in milliseconds: short at first, since most work ends within a moment. */
const waits = [20, 20, 50, 50, 100] as const;
const waitMsMax = 250;
/** Longest wait for the end of an operation, in milliseconds: a large copy may take as long. */
const limitMs = 60 * 60 * 1_000;

/** Deadline of a call that may copy data, in milliseconds. */
export const longCallMs = limitMs;

/** Reads until the answer is final. @throws RestError 504 after an hour */
export const readUntil = async <Answer>(
  clock: Pick<Clock, 'sleep' | 'monotonicMs'>,
  read: () => Promise<Answer>,
  isFinal: (answer: Answer) => boolean,
): Promise<Answer> => {
  const deadline = clock.monotonicMs() + limitMs;
  for (let n = 0; ; n++) {
    const answer = await read();
    if (isFinal(answer)) return answer;
    if (clock.monotonicMs() > deadline)
      throw new RestError(504, 'OperationTimedOut', `the operation did not end within ${limitMs / 60_000} minutes`);
    await clock.sleep(waits[n] ?? waitMsMax);
  }
};
