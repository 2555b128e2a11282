import { Rejection } from '@interlock/event-store';
import type { Clock, Instant } from '@interlock/runtime';

/** Why a call's signal was aborted. */
export type Ended = 'deadline' | 'cancelled' | 'stopping';

/** How long one call may take, and the signal that ends it. */
export interface CallTimer {
  /** Aborted at the deadline, when the caller is gone, and when the server stops its streams. */
  readonly signal: AbortSignal;
  /** Wall-clock time of the deadline. */
  readonly deadline: Instant;
  /** Milliseconds left by the monotonic clock; negative afterwards. */
  remainingMs(): number;
  /** Why the call was ended from outside; `undefined` while it was not. */
  ended(): Ended | undefined;
  /** `work`, or the rejection `atDeadline` makes at the deadline, whatever comes first. `work` itself goes on. */
  race<Result>(work: Promise<Result>, atDeadline: () => Error): Promise<Result>;
  /** Releases the timer. The signal is not aborted by it. */
  stop(): void;
}

/** Starts the timer of a call. `outer` ends it as cancelled; `stopping`, where given, as stopping. */
export function startTimer(
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal | undefined,
  stopping?: AbortSignal,
): CallTimer {
  const endMs = clock.monotonicMs() + timeoutMs;
  /** Made for whoever looks at it: most handlers do not. */
  let ending: AbortController | undefined;
  let expiring: (() => void)[] = [];
  let why: Ended | undefined;
  let isReleased = false;

  const end = (reason: Ended): void => {
    if (why !== undefined || isReleased) return;
    why = reason;
    ending?.abort(ENDED);
    if (reason === 'deadline') for (const expire of expiring) expire();
    expiring = [];
  };
  const cancel = (): void => end('cancelled');
  const stop = (): void => end('stopping');
  listen(outer, cancel);
  listen(stopping, stop);
  const deadline = clock.alarm(timeoutMs, () => end('deadline'));

  return {
    get signal() {
      ending ??= new AbortController();
      if (why !== undefined && !ending.signal.aborted) ending.abort(ENDED);
      return ending.signal;
    },
    deadline: clock.now() + timeoutMs,
    remainingMs: () => endMs - clock.monotonicMs(),
    ended: () => why,
    race: (work, atDeadline) =>
      new Promise((resolve, reject) => {
        if (why === 'deadline') reject(atDeadline());
        else if (why === undefined) expiring.push(() => reject(atDeadline()));
        work.then(resolve, reject);
      }),
    stop: () => {
      isReleased = true;
      deadline.cancel();
      outer?.removeEventListener('abort', cancel);
      stopping?.removeEventListener('abort', stop);
    },
  };
}

/** Reason of an abort nobody looks at: without one every abort would build a DOMException with its stack (12 µs each). */
const ENDED = 'the call has ended';

const listen = (signal: AbortSignal | undefined, listener: () => void): void => {
  if (signal?.aborted) listener();
  else signal?.addEventListener('abort', listener, { once: true });
};

/** The refusal of a stream that had to end because its server stops: the caller opens it again elsewhere. */
export const serverStopping = (): Rejection =>
  new Rejection('UNAVAILABLE', 'SERVER_STOPPING', 'the server is stopping: open the stream again');
