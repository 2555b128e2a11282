import { Rejection } from '@interlock/event-store';
import type { Alarm, Clock, Instant } from '@interlock/runtime';

/** Why a call's signal was aborted. */
export type Ended = 'deadline' | 'cancelled' | 'stopping';

/** How long one call may take, and the signal that ends it. */
export interface CallTimer {
  /** Aborted at the deadline, when the caller cancels, and when the server stops its streams. */
  readonly signal: AbortSignal;
  /** Wall-clock time of the deadline. */
  readonly deadline: Instant;
  /** Milliseconds left by the monotonic clock; negative afterwards. */
  remainingMs(): number;
  /** Why the call was ended from outside; otherwise `undefined`. */
  ended(): Ended | undefined;
  /** The result of `work`, or the error of `atDeadline` if the deadline comes first. `work` itself continues. */
  race<Result>(work: Promise<Result>, atDeadline: () => Error): Promise<Result>;
  /** Releases the timer without aborting the signal. */
  stop(): void;
}

/** Starts the timer of a call. `outer` ends it as cancelled, `stopping` as stopping. */
export const startTimer = (
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal | undefined,
  stopping?: AbortSignal,
): CallTimer => new StartedTimer(clock, timeoutMs, outer, stopping);

/** A class, because each call creates two: creating an object literal with a getter costs more than all its methods. */
class StartedTimer implements CallTimer {
  readonly deadline: Instant;
  readonly remainingMs: () => number;
  readonly #outer: AbortSignal | undefined;
  readonly #stopping: AbortSignal | undefined;
  readonly #alarm: Alarm;
  /** Created when `signal` is first read: most handlers never read it, and its listener costs more than the rest. */
  #ending: AbortController | undefined;
  #expiring: (() => void)[] = [];
  #why: Ended | undefined;
  #isReleased = false;

  constructor(clock: Clock, timeoutMs: number, outer: AbortSignal | undefined, stopping: AbortSignal | undefined) {
    const endMs = clock.monotonicMs() + timeoutMs;
    this.deadline = clock.now() + timeoutMs;
    // V8 allocates a function that is assigned to a property in the old generation, where it outlives the call with all it references.
    const remainingMs = (): number => endMs - clock.monotonicMs();
    this.remainingMs = remainingMs;
    this.#outer = outer;
    this.#stopping = stopping;
    this.#alarm = clock.alarm(timeoutMs, () => this.#end('deadline'));
  }

  #end(reason: Ended): void {
    if (this.#isReleased || this.ended() !== undefined) return;
    this.#why = reason;
    this.#ending?.abort(ENDED);
    for (const expire of this.#expiring) expire();
    this.#expiring = [];
  }
  /** Listener of the outer signals; aborts `signal` if one of them ended the call. */
  readonly #look = (): void => {
    if (this.ended() !== undefined) this.#ending?.abort(ENDED);
  };

  get signal(): AbortSignal {
    if (this.#ending === undefined) {
      this.#ending = new AbortController();
      this.#look();
      // After the end nothing removes a listener, and the signal of the server lives on: so add none.
      if (this.#isReleased) return this.#ending.signal;
      for (const signal of [this.#outer, this.#stopping]) signal?.addEventListener('abort', this.#look, { once: true });
    }
    return this.#ending.signal;
  }
  ended(): Ended | undefined {
    if (this.#why === undefined && !this.#isReleased) {
      if (this.#outer?.aborted) this.#why = 'cancelled';
      else if (this.#stopping?.aborted) this.#why = 'stopping';
    }
    return this.#why;
  }
  race<Result>(work: Promise<Result>, atDeadline: () => Error): Promise<Result> {
    return new Promise((resolve, reject) => {
      const why = this.ended();
      if (why === 'deadline') reject(atDeadline());
      else if (why === undefined) this.#expiring.push(() => reject(atDeadline()));
      work.then(resolve, reject);
    });
  }
  stop(): void {
    this.#isReleased = true;
    this.#alarm.cancel();
    if (this.#ending === undefined) return;
    for (const signal of [this.#outer, this.#stopping]) signal?.removeEventListener('abort', this.#look);
  }
}

/** Abort reason. It is never read, but without it each abort would create a DOMException with its stack (12 µs). */
const ENDED = 'the call has ended';

/** The refusal of a stream that had to end because its server stops: the caller opens it again elsewhere. */
export const serverStopping = (): Rejection =>
  new Rejection('UNAVAILABLE', 'SERVER_STOPPING', 'the server is stopping: open the stream again');
