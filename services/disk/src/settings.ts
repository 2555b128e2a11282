import { hostFolderSpec } from '@interlock/host';
import { bool, type ConfigOf, type ConfigProblem, int, optional, text } from '@interlock/runtime';
import { type LeaseTerms, leaseDefaults } from './host/keys/lease.ts';
import { hostLeaseTtlDefaultMs } from './host/ownership.ts';

/** The settings of this service beside those of every service. */
export const diskSpec = {
  ...hostFolderSpec,
  dataFolder: text('Folder of this host alone for the volumes of disks and snapshots; made when missing'),
  standby: bool('Whether to wait, for as long as it takes, for a process that serves the volumes to end', {
    default: false,
  }),
  masterKeyFile: text(
    'File of 32 bytes the keys of the platform are sealed under; made at the first start, where nothing is sealed yet',
  ),
  diskAddress: text('host:port of disk'),
  dataAddress: optional(text('host:port at which machines reach the data of disks; by default that of disk')),
  snapshotsPerDiskMax: int('Most incremental snapshots of one disk', { min: 1, default: 500 }),
  snapshotsRecentMax: int('Most incremental snapshots of one disk within SNAPSHOTS_RECENT_MS', { min: 1, default: 7 }),
  snapshotsRecentMs: int('Over how long SNAPSHOTS_RECENT_MAX counts', { min: 0, default: 300_000 }),
  leaseTtlMs: int('How long a yes of a vault lets data keys be used, from before it was asked for', {
    min: 1_000,
    default: leaseDefaults.ttlMs,
  }),
  hostLeaseTtlMs: int(
    'How long this host may use its volumes after its last renewal; another machine that takes them waits as long',
    { min: 1_000, default: hostLeaseTtlDefaultMs },
  ),
  ioPauseTimeoutMs: int('How long reads and writes wait for a vault that gives no answer once a lease is over', {
    min: 0,
    default: leaseDefaults.ioPauseTimeoutMs,
  }),
  unreachableGraceMs: int(
    'After how much silence beyond the end of a lease its key counts as lost, so that machines stop',
    { min: 0, default: leaseDefaults.unreachableGraceMs },
  ),
} as const;

/** The terms of leases in these settings. */
export const leaseTermsOf = (settings: ConfigOf<typeof diskSpec>): LeaseTerms => ({
  ttlMs: settings.leaseTtlMs,
  ioPauseTimeoutMs: settings.ioPauseTimeoutMs,
  unreachableGraceMs: settings.unreachableGraceMs,
});

/**
 * What is wrong with a lease time that each setting alone allows: key-vault may go on for `authzTtlMs` after a role or a
 * principal is gone, so a lease that is not twice as long would be worth less than the answer it rests on.
 */
export const leaseProblems = (settings: {
  readonly leaseTtlMs: number;
  readonly authzTtlMs: number;
}): readonly ConfigProblem[] =>
  settings.leaseTtlMs >= 2 * settings.authzTtlMs
    ? []
    : [
        {
          name: 'LEASE_TTL_MS',
          got: String(settings.leaseTtlMs),
          expected: `at least twice AUTHZ_TTL_MS, which is ${settings.authzTtlMs}: ${2 * settings.authzTtlMs} or more`,
        },
      ];
