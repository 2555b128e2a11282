import { uptime } from 'node:os';

/** Milliseconds since the Unix epoch, as `Clock.now` reads them. Events, views and messages carry instants in this unit. */
export type Instant = number;

/**
 * The only source of time below `main.ts`. The real clock reads the operating system; the simulated one moves only on
 * command, so that a whole cloud can run in virtual time.
 */
export interface Clock {
  /** Wall-clock time: for times that users read, for `nbf` and `exp`. May jump. */
  now(): Instant;
  /** Milliseconds since an arbitrary start; never goes back. For deadlines, leases and durations. */
  monotonicMs(): number;
  /**
   * Milliseconds since an arbitrary start; never goes back. It advances while the machine is suspended, which `monotonicMs` may not.
   * For what must end in spite of a suspension: the lease of a key.
   */
  bootMs(): number;
  /**
   * Resolves after `durationMs`, or at once when one of the signals is aborted: the caller checks them afterwards. Never rejects.
   * Several signals cost less than `AbortSignal.any`, and no listener stays.
   */
  sleep(durationMs: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void>;
  /** Calls `wake` after `durationMs`, unless it is cancelled: a sleep without a promise, for timers that are mostly cancelled. */
  alarm(durationMs: number, wake: () => void): Alarm;
}

/** Longest monotonic time, in milliseconds, until the suspended time is read again. */
const suspensionKnownMs = 100;
/** Smallest difference between the steps of wall clock and monotonic clock that causes a check for a suspension, in milliseconds. */
const wallStepMs = 5;

/**
 * Boot time: a monotonic clock plus the time that the machine was suspended. The latter costs a read of a file (about 4 µs), too
 * much for every I/O. So it is read only if the wall clock has stepped against the monotonic one, as when a machine wakes, and
 * every 100 ms. Its resolution is 10 ms, rounded down. The largest difference is used, so boot time is at most 10 ms fast, and
 * never slow.
 * @param uptimeMs CLOCK_BOOTTIME or an equivalent
 */
export const bootTime = (source: {
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly uptimeMs: () => number;
}): (() => number) => {
  const { monotonicMs, wallMs, uptimeMs } = source;
  let aheadMs = Number.NEGATIVE_INFINITY;
  let lookAgainAtMs = Number.NEGATIVE_INFINITY;
  let wallAheadMs = 0;
  return () => {
    const nowMs = monotonicMs();
    const steppedMs = Math.abs(wallMs() - nowMs - wallAheadMs);
    if (nowMs >= lookAgainAtMs || steppedMs > wallStepMs) {
      wallAheadMs = wallMs() - nowMs;
      lookAgainAtMs = nowMs + suspensionKnownMs;
      aheadMs = Math.max(aheadMs, uptimeMs() - nowMs);
    }
    return nowMs + aheadMs;
  };
};

/** A scheduled call. */
export interface Alarm {
  /** Cancels it; does nothing after the call was made. */
  cancel(): void;
}

/** Implements `sleep` with `alarm`. */
export const sleepBy =
  (alarm: Clock['alarm']): Clock['sleep'] =>
  (durationMs, ...signals) =>
    new Promise((resolve) => {
      if (signals.some((signal) => signal?.aborted)) return resolve();
      const finish = (): void => {
        pending.cancel();
        for (const signal of signals) signal?.removeEventListener('abort', finish);
        resolve();
      };
      const pending = alarm(durationMs, finish);
      for (const signal of signals) signal?.addEventListener('abort', finish);
    });

/** Longest time of a Node timer; Node replaces a longer one, also an infinite one, by one millisecond. */
const timerMsMax = 2 ** 31 - 1;

const systemAlarm: Clock['alarm'] = (durationMs, wake) => {
  const wait = (leftMs: number): NodeJS.Timeout =>
    leftMs <= timerMsMax
      ? setTimeout(wake, leftMs)
      : setTimeout(() => {
          timer = wait(leftMs - timerMsMax);
        }, timerMsMax);
  let timer = wait(durationMs);
  return { cancel: () => clearTimeout(timer) };
};

/** The operating system's clock. A pending `sleep` or alarm keeps the process alive until it ends. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  // On Linux CLOCK_BOOTTIME, through /proc/uptime.
  bootMs: bootTime({
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    uptimeMs: () => uptime() * 1_000,
  }),
  alarm: systemAlarm,
  sleep: sleepBy(systemAlarm),
};
