import { bool, int } from '@interlock/runtime';

/** Settings of this service. */
export const setSpec = {
  requirePurgeProtection: bool('Refuse keys of vaults without purge protection', { default: true }),
  setsPerRegionMax: int('Most sets of a subscription in a region', { min: 1, default: 5_000 }),
  watchdogMs: int('Interval of the watchdog that resumes interrupted work on sets', { min: 10, default: 2_000 }),
  rotationRetryMs: int('Interval of retries of a rotation that waits for a key', { min: 10, default: 30_000 }),
  rotationCheckIntervalMs: int('Interval of checks for a newer version of a followed key', {
    min: 10,
    default: 3_600_000,
  }),
  rotationConcurrency: int('Disks and snapshots of a set that a rotation rewraps at once', {
    min: 1,
    max: 512,
    default: 128,
  }),
  // One page blocks the event loop, and so guests, while it is read, encoded or decoded.
  rotationPageSize: int('Disks and snapshots between two progress events of a rotation', {
    min: 1,
    max: 1_000,
    default: 128,
  }),
} as const;
