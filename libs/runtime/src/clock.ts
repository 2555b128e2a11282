import { uptime } from 'node:os';

/** Milliseconds since the Unix epoch, as `Clock.now` reads them. Events, views and messages carry instants in this unit. */
export type Instant = number;

/**
 * The one source of time below `main.ts`. The real clock reads the operating system; the simulated one moves only when
 * told, so that a whole cloud can run in virtual time.
 */
export interface Clock {
  /** Wall-clock time: for facts people read, for `nbf` and `exp`. May jump. */
  now(): Instant;
  /** Milliseconds since an arbitrary start; never goes back. For deadlines, leases and durations. */
  monotonicMs(): number;
  /**
   * Milliseconds since an arbitrary start, counted on while the machine is suspended, which `monotonicMs` may not; never
   * goes back. For what must be over by then wherever the machine was meanwhile: the lease of a key.
   */
  bootMs(): number;
  /**
   * Resolves after `durationMs`, or at once when one of the signals is aborted: the caller looks at them afterwards.
   * Never rejects. Several signals cost less here than one made of them by `AbortSignal.any`, and leave nothing behind.
   */
  sleep(durationMs: number, ...signals: readonly (AbortSignal | undefined)[]): Promise<void>;
  /** Calls `wake` after `durationMs`, unless it is cancelled before: a sleep without a promise, for what mostly ends early. */
  alarm(durationMs: number, wake: () => void): Alarm;
}

/** Most milliseconds of monotonic time after which the time the machine was suspended is looked at again. */
const suspensionKnownMs = 100;
/** A step of the wall clock against the monotonic one from which on a suspension is looked for, in milliseconds. */
const wallStepMs = 5;

/**
 * Boot time made of a monotonic clock and the time the machine was suspended. The latter costs a read of a file (about
 * 4 µs), too much for every piece of I/O, so it is read again only when the wall clock has stepped against the monotonic
 * one, as it does when a machine wakes, and every 100 ms in case it has not. Its resolution is 10 ms, rounded down; the
 * largest difference seen counts, so what was rounded off makes boot time at most 10 ms fast, never slow.
 * @param uptimeMs CLOCK_BOOTTIME or its like
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

/** A call to come. */
export interface Alarm {
  /** It does not come any more. Nothing happens when it has come already. */
  cancel(): void;
}

/** Makes `sleep` from `alarm`. */
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

/** Longest wait of one timer of Node; it takes a longer one, also one without an end, for one millisecond. */
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
