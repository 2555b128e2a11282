import { bool, int } from '@interlock/runtime';

/** The settings of this service beside those of every service. */
export const setSpec = {
  requirePurgeProtection: bool('Whether the vault of a key must have purge protection on', { default: true }),
  setsPerRegionMax: int('Sets of one subscription in one region', { min: 1, default: 5_000 }),
  watchdogMs: int('Milliseconds between looks at sets that stand still', { min: 10, default: 2_000 }),
  rotationRetryMs: int('Milliseconds between tries of a rotation that waits for a key', { min: 10, default: 30_000 }),
  rotationCheckIntervalMs: int('Milliseconds between looks for a newer version of the keys that sets follow', {
    min: 10,
    default: 3_600_000,
  }),
  rotationConcurrency: int('Disks and snapshots of one set moved to another key at once', {
    min: 1,
    max: 512,
    default: 128,
  }),
  // A page is read, packed and unpacked in one turn of an event loop each, for which guests wait.
  rotationPageSize: int('Disks and snapshots moved between two progress events', {
    min: 1,
    max: 1_000,
    default: 128,
  }),
} as const;
