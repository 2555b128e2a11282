/** Settings of the judged services that the bounds follow from, in milliseconds. */
export interface Terms {
  readonly authzTtlMs: number;
  readonly leases: { readonly ttlMs: number; readonly unreachableGraceMs: number };
  readonly sweepIntervalMs: number;
  readonly guestStopTimeoutMs: number;
  /** How long a disk host may use its volumes after its last renewal; absent if a recording does not say it. */
  readonly hostLeaseTtlMs?: number;
}

/** How long each step may take, in milliseconds. */
export interface Bounds {
  /** How long an unwrapped data key may be used without a renewal. */
  readonly leaseTtlMs: number;
  /** How long key-vault may use a cached decision of identity. */
  readonly authzTtlMs: number;
  /** From the last check of an operation to its response, while nothing is slow. */
  readonly answerMs: number;
  /** How late a service may still act on a loss or on restored access: a refusal then is late, not wrong. */
  readonly newsMs: number;
  /** How long after the end of an outage calls may still fail. */
  readonly excuseMs: number;
  /** From the bound to a stopped machine, while compute, its store and the disk hosts are up (G2). */
  readonly stopMs: number;
  /** How long a stop waits at most for a disk host that does not respond (G2). */
  readonly hostAwayMs: number;
  /** From a loss to a stopped guest without any disturbance. */
  readonly promptMs: number;
  /** How long there must have been no disturbance for that. */
  readonly calmMs: number;
  /** How long everything may take to finish after the last disturbance. */
  readonly settleMs: number;
}

/** Longest wait between two tries of a relay, a consumer, or the engine of compute. */
const backOffMs = 5_000;

/** @param slackMs what a busy machine adds to each time except the bound of G1; 0 in virtual time */
export const boundsOf = (
  { authzTtlMs, leases, sweepIntervalMs, guestStopTimeoutMs, hostLeaseTtlMs }: Terms,
  slackMs = 0,
): Bounds => ({
  leaseTtlMs: leases.ttlMs,
  authzTtlMs,
  answerMs: 200 + slackMs,
  newsMs: 60_000,
  excuseMs: leases.ttlMs + leases.unreachableGraceMs + 40_000,
  stopMs: sweepIntervalMs + guestStopTimeoutMs + backOffMs + slackMs,
  hostAwayMs: hostLeaseTtlMs ?? Number.POSITIVE_INFINITY,
  promptMs: guestStopTimeoutMs + 500 + slackMs,
  calmMs: 15_000,
  settleMs: 120_000,
});
