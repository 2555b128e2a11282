/**
 * Bounds of a histogram of durations, in seconds. A revocation takes milliseconds if events are delivered, and `LEASE_TTL_MS` or
 * more if they are not. So the bounds range from 0.1 ms to longer than a lease.
 */
export const DURATION_BUCKETS_S: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
  600,
];
