import type { SimulatedSettings } from '../cloud/deployment.ts';

/** How long what may take, in milliseconds, beside the bound of G1 itself. */
export interface Bounds {
  /** How long an unwrapped data key may be used without asking again. */
  readonly leaseTtlMs: number;
  /** From the last check of a piece to its answer, while nothing is slow. */
  readonly answerMs: number;
  /** How late news of a loss or return may still be acted on: a refusal then is late, not wrong. */
  readonly newsMs: number;
  /** How long an outage that ended may still make calls fail. */
  readonly excuseMs: number;
  /** From the bound to a stopped machine, while compute, its store and the disk hosts are up (G2). */
  readonly stopMs: number;
  /** From a loss to a stopped guest while nothing at all is wrong. */
  readonly promptMs: number;
  /** For how long nothing must have been wrong for that. */
  readonly calmMs: number;
  /** In which everything settles once nothing goes wrong any more. */
  readonly settleMs: number;
}

/** Longest wait between two tries of a relay, a consumer, or the engine of compute. */
const backOffMs = 5_000;

export const boundsOf = (settings: SimulatedSettings): Bounds => ({
  leaseTtlMs: settings.leases.ttlMs,
  answerMs: 200,
  newsMs: 60_000,
  excuseMs: settings.leases.ttlMs + settings.leases.unreachableGraceMs + 40_000,
  stopMs: settings.sweepIntervalMs + settings.guestStopTimeoutMs + backOffMs,
  promptMs: settings.guestStopTimeoutMs + 500,
  calmMs: 15_000,
  settleMs: 120_000,
});
