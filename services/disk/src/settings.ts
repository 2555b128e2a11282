import { type FolderSpace, hostFolderSpec } from '@interlock/host';
import { type ConfigOf, type ConfigProblem, int, oneOf, optional, text } from '@interlock/runtime';
import type { MasterKey } from '@interlock/sealing';
import { firstHost } from './fleet/own.ts';
import type { SectorCipher } from './host/cipher/xts.ts';
import { type LeaseTerms, leaseDefaults } from './host/keys/lease.ts';
import { parseNbdAddress } from './host/nbd/address.ts';
import type { NbdServer } from './host/nbd/door.ts';
import { type HostIdentity, hostLeaseTtlDefaultMs, type Owner } from './host/owner/ownership.ts';
import type { VolumeFiles } from './host/storage/volume-files.ts';
import type { SnapshotLimits } from './snapshot/api.ts';

/** Settings of disk that are not values of the environment alone. */
export interface DiskSettings {
  readonly masterKey: MasterKey;
  readonly files: VolumeFiles;
  /** `host:port` at which machines reach DiskDataService. */
  readonly dataAddress: string;
  /** `host:port` at which services reach DiskService; by default the data address. */
  readonly grpcAddress?: string;
  /** Where this host is (`HOST_ZONE`). */
  readonly zone?: string | undefined;
  /** Size and free bytes of the file system of the volumes, as read last; undefined until then. */
  readonly space?: () => FolderSpace | undefined;
  /** Where open disks are served as network block devices; undefined: nowhere. */
  readonly nbd?: NbdServer;
  readonly snapshotLimits: SnapshotLimits;
  readonly leases: LeaseTerms;
  /**
   * Whether this process is a disk host beside others (`DISK_ROLE=host`): control processes place, pass calls on, and publish and
   * consume facts. By default it does all of that for its own disks.
   */
  readonly isOneOfMany?: boolean;
  /** Identity of this host among hosts that may serve the same volumes. */
  readonly host: HostIdentity;
  /** Called when another host has taken the volumes: this process is replaced. */
  readonly onReplaced?: () => void;
  /** Writes the owner of the volumes next to them. */
  readonly onTaken?: (owner: Owner) => Promise<void>;
  /** Wraps each cipher of an open disk: the simulation observes which exist. */
  readonly watchCipher?: (cipher: SectorCipher, disk: string) => SectorCipher;
}

/** The settings of this service in addition to those of every service. */
export const diskSpec = {
  ...hostFolderSpec,
  diskRole: oneOf(
    'host: has a folder, and works on its own disks; control: has none, places disks and passes calls on to their hosts; all: both, for one host',
    ['all', 'control', 'host'],
    { default: 'all' },
  ),
  diskHost: text('Unique name of this disk host; its disks name it, so it never changes', { default: firstHost }),
  hostZone: optional(text('Where this disk host is, for example the zone of its node; shown, and for placement')),
  dataFolder: optional(
    text('Folder of the volumes, used by this host only; created if missing. Required unless DISK_ROLE is control'),
  ),
  masterKeyFile: optional(
    text(
      'File of 32 bytes that seals the platform keys, the same for all disk hosts; created at the first start. Required unless DISK_ROLE is control',
    ),
  ),
  diskAddress: text('host:port of disk; of a disk host beside others its own, which control processes call'),
  dataAddress: optional(text('host:port of the data API for machines; default: that of disk')),
  nbdListen: optional(
    text('Where open disks are served as network block devices: unix:/path or tls://host:port; default: nowhere'),
  ),
  nbdSocketGroup: optional(
    int('Id of the group whose processes may connect to the Unix socket; default: those of the user of this service', {
      min: 0,
    }),
  ),
  nbdAddress: optional(text('Where clients reach it, if not at NBD_LISTEN: unix:/path or tls://host:port')),
  snapshotsPerDiskMax: int('Most incremental snapshots of a disk', { min: 1, default: 500 }),
  snapshotsRecentMax: int('Most incremental snapshots of a disk within SNAPSHOTS_RECENT_MS', { min: 1, default: 7 }),
  snapshotsRecentMs: int('Period of SNAPSHOTS_RECENT_MAX', { min: 0, default: 300_000 }),
  leaseTtlMs: int('How long data keys may be used after the call that renewed their lease', {
    min: 1_000,
    default: leaseDefaults.ttlMs,
  }),
  hostLeaseTtlMs: int(
    'How long this host may use its volumes after a renewal; another host waits as long before it takes over',
    { min: 1_000, default: hostLeaseTtlDefaultMs },
  ),
  ioPauseTimeoutMs: int('How long reads and writes wait after the lease for a vault that does not respond', {
    min: 0,
    default: leaseDefaults.ioPauseTimeoutMs,
  }),
  unreachableGraceMs: int(
    'Time after the lease without a response of the vault after which the key counts as lost and machines stop',
    { min: 0, default: leaseDefaults.unreachableGraceMs },
  ),
} as const;

/** Longest duration of a call besides a pause of its I/O, in milliseconds: that of every service. */
const callMs = 30_000;

/** Longest duration of a call, in milliseconds. */
export const callMaxMsOf = ({ ioPauseTimeoutMs }: Pick<LeaseTerms, 'ioPauseTimeoutMs'>): number =>
  ioPauseTimeoutMs + callMs;

/** The terms of leases in these settings. */
export const leaseTermsOf = (
  settings: Pick<ConfigOf<typeof diskSpec>, 'leaseTtlMs' | 'ioPauseTimeoutMs' | 'unreachableGraceMs'>,
): LeaseTerms => ({
  ttlMs: settings.leaseTtlMs,
  ioPauseTimeoutMs: settings.ioPauseTimeoutMs,
  unreachableGraceMs: settings.unreachableGraceMs,
});

/**
 * What is wrong with a lease time that each setting alone allows: key-vault may trust a role or a principal for `authzTtlMs`
 * after its removal, so a lease that is not twice as long would be worth less than the grant behind it.
 */
const leaseProblems = (settings: {
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

/** What is missing in a process that has volumes. */
export const roleProblems = (settings: {
  readonly diskRole: 'all' | 'control' | 'host';
  readonly dataFolder?: string | undefined;
  readonly masterKeyFile?: string | undefined;
}): readonly ConfigProblem[] => {
  const needed = { DATA_FOLDER: settings.dataFolder, MASTER_KEY_FILE: settings.masterKeyFile };
  if (settings.diskRole === 'control') return [];
  return Object.entries(needed).flatMap(([name, value]) =>
    value === undefined ? { name, got: '', expected: `a path, because DISK_ROLE is ${settings.diskRole}` } : [],
  );
};

/** What is wrong with settings that each alone allows. */
export const diskProblems = (
  settings: Parameters<typeof leaseProblems>[0] & {
    readonly nbdListen?: string | undefined;
    readonly nbdAddress?: string | undefined;
  },
): readonly ConfigProblem[] => {
  const expected = 'unix:/path or tls://host:port';
  const addresses = [
    { name: 'NBD_LISTEN', got: settings.nbdListen, expected },
    { name: 'NBD_ADDRESS', got: settings.nbdAddress, expected },
  ];
  const nbd = addresses.flatMap(({ got, ...problem }) =>
    got === undefined || parseNbdAddress(got) !== undefined ? [] : { ...problem, got },
  );
  return [...leaseProblems(settings), ...nbd];
};
