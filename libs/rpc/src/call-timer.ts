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

/** Reason of an abort nobody looks at: without one every call would build a DOMException with its stack (12 µs each). */
const RELEASED = 'released';

/** Starts the timer of a call. `outer` ends it as cancelled; `stopping`, where given, as stopping. */
export function startTimer(
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal | undefined,
  stopping?: AbortSignal,
): CallTimer {
  const ending = new AbortController();
  const released = new AbortController();
  const endMs = clock.monotonicMs() + timeoutMs;
  let why: Ended | undefined;

  const end = (reason: Ended) => () => {
    if (why !== undefined || released.signal.aborted) return;
    why = reason;
    ending.abort();
  };
  const links: readonly (readonly [AbortSignal | undefined, () => void])[] = [
    [outer, end('cancelled')],
    [stopping, end('stopping')],
  ];
  for (const [signal, listener] of links) {
    if (signal?.aborted) listener();
    else signal?.addEventListener('abort', listener, { once: true });
  }
  void clock.sleep(timeoutMs, released.signal).then(end('deadline'));

  return {
    signal: ending.signal,
    deadline: clock.now() + timeoutMs,
    remainingMs: () => endMs - clock.monotonicMs(),
    ended: () => why,
    race: (work, atDeadline) =>
      new Promise((resolve, reject) => {
        const expire = () => {
          if (why === 'deadline') reject(atDeadline());
        };
        if (ending.signal.aborted) expire();
        else ending.signal.addEventListener('abort', expire, { once: true });
        work.then(resolve, reject);
      }),
    stop: () => {
      released.abort(RELEASED);
      for (const [signal, listener] of links) signal?.removeEventListener('abort', listener);
    },
  };
}

/** The refusal of a stream that had to end because its server stops: the caller opens it again elsewhere. */
export const serverStopping = (): Rejection =>
  new Rejection('UNAVAILABLE', 'SERVER_STOPPING', 'the server is stopping: open the stream again');
