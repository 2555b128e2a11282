import { Rejection } from '@interlock/event-store';
import type { Alarm, Clock, Instant } from '@interlock/runtime';

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
export const startTimer = (
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal | undefined,
  stopping?: AbortSignal,
): CallTimer => new StartedTimer(clock, timeoutMs, outer, stopping);

/** A class, because there are two for each call, and an object with a getter put together anew costs more than all it does. */
class StartedTimer implements CallTimer {
  readonly deadline: Instant;
  readonly remainingMs: () => number;
  readonly #outer: AbortSignal | undefined;
  readonly #stopping: AbortSignal | undefined;
  readonly #cancel = (): void => this.#end('cancelled');
  readonly #stop = (): void => this.#end('stopping');
  readonly #alarm: Alarm;
  /** Made for whoever looks at it: most handlers do not. */
  #ending: AbortController | undefined;
  #expiring: (() => void)[] = [];
  #why: Ended | undefined;
  #isReleased = false;

  constructor(clock: Clock, timeoutMs: number, outer: AbortSignal | undefined, stopping: AbortSignal | undefined) {
    const endMs = clock.monotonicMs() + timeoutMs;
    this.deadline = clock.now() + timeoutMs;
    this.remainingMs = () => endMs - clock.monotonicMs();
    this.#outer = outer;
    this.#stopping = stopping;
    listen(outer, this.#cancel);
    listen(stopping, this.#stop);
    this.#alarm = clock.alarm(timeoutMs, () => this.#end('deadline'));
  }

  #end(reason: Ended): void {
    if (this.#why !== undefined || this.#isReleased) return;
    this.#why = reason;
    this.#ending?.abort(ENDED);
    if (reason === 'deadline') for (const expire of this.#expiring) expire();
    this.#expiring = [];
  }

  get signal(): AbortSignal {
    this.#ending ??= new AbortController();
    if (this.#why !== undefined && !this.#ending.signal.aborted) this.#ending.abort(ENDED);
    return this.#ending.signal;
  }
  ended(): Ended | undefined {
    return this.#why;
  }
  race<Result>(work: Promise<Result>, atDeadline: () => Error): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#why === 'deadline') reject(atDeadline());
      else if (this.#why === undefined) this.#expiring.push(() => reject(atDeadline()));
      work.then(resolve, reject);
    });
  }
  stop(): void {
    this.#isReleased = true;
    this.#alarm.cancel();
    this.#outer?.removeEventListener('abort', this.#cancel);
    this.#stopping?.removeEventListener('abort', this.#stop);
  }
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
