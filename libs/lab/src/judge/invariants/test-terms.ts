import type { Terms } from './bounds.ts';

/** Settings of a judged cloud. */
export const testTerms: Terms = {
  authzTtlMs: 5_000,
  leases: { ttlMs: 10_000, unreachableGraceMs: 30_000 },
  sweepIntervalMs: 5_000,
  guestStopTimeoutMs: 2_000,
  hostLeaseTtlMs: 30_000,
};
