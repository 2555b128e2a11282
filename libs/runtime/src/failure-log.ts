import type { Clock, Instant } from './clock.ts';
import type { LogFields, Logger } from './logger.ts';

/** A failure that repeats is logged once in this time. */
const REPEAT_MS = 60_000;

/** Work that fails and is retried. */
export interface Outage {
  readonly since: Instant;
  /** Failures without a success in between; at least 1. */
  readonly failures: number;
  /** The newest. */
  readonly error: unknown;
}

/** Logs failures of retried work: the first one, one a minute while it lasts, and the end. */
export interface FailureLog {
  failed(error: unknown, fields?: LogFields): void;
  /** Reports a success; costs nothing if the one before succeeded too. */
  succeeded(): void;
  /** The current outage; undefined without one. */
  outage(): Outage | undefined;
}

/** @param parts `failing` and `back`: the log events of a failure, and of the first success after it */
export const failureLog = (parts: {
  readonly log: Logger;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly failing: string;
  readonly back: string;
}): FailureLog => {
  const { log, clock, failing, back } = parts;
  let current: (Outage & { readonly startedAt: number; readonly loggedAt: number }) | undefined;
  return {
    failed(error, fields = {}) {
      const now = clock.monotonicMs();
      const { since, startedAt, loggedAt, failures } = current ?? {
        since: clock.now(),
        startedAt: now,
        loggedAt: Number.NEGATIVE_INFINITY,
        failures: 0,
      };
      const isDue = now - loggedAt >= REPEAT_MS;
      current = { since, startedAt, failures: failures + 1, error, loggedAt: isDue ? now : loggedAt };
      if (isDue)
        log.warn(failing, { ...fields, error, failures: failures + 1, failingMs: Math.round(now - startedAt) });
    },
    succeeded() {
      if (!current) return;
      const { failures, startedAt } = current;
      current = undefined;
      log.info(back, { failures, failedMs: Math.round(clock.monotonicMs() - startedAt) });
    },
    outage: () => current,
  };
};
