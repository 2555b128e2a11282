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
   * Resolves after `durationMs`, or at once when `signal` is aborted: the caller looks at the signal afterwards.
   * Never rejects.
   */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

/** The operating system's clock. A pending `sleep` keeps the process alive until it ends or is aborted. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (durationMs, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const finish = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, durationMs);
      signal?.addEventListener('abort', finish);
    }),
};
