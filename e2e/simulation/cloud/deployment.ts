import type { CloudService } from '@interlock/host';
import { simulatedTokens, type TokenFormat, type Workload } from '@interlock/rpc';
import type { Random, SeededRandom } from '@interlock/runtime';
import { type MasterKey, masterKey } from '@interlock/sealing';
import { assemble as assembleCompute } from '../../../services/compute/src/assemble.ts';
import type { VmHostTerms } from '../../../services/compute/src/fleet/vm-hosts.ts';
import type { VmHost } from '../../../services/compute/src/guests/vm-host.ts';
import { assemble as assembleDisk } from '../../../services/disk/src/assemble.ts';
import type { LeaseTerms } from '../../../services/disk/src/host/keys/lease.ts';
import type { VolumeFiles } from '../../../services/disk/src/host/storage/volume-files.ts';
import { assembleControl } from '../../../services/disk/src/routing/assemble-control.ts';
import { callMaxMsOf } from '../../../services/disk/src/settings.ts';
import { assemble as assembleSets } from '../../../services/disk-encryption-set/src/assemble.ts';
import { assemble as assembleIdentity, type IdentitySettings } from '../../../services/identity/src/assemble.ts';
import { hashSecret } from '../../../services/identity/src/token/tokens.ts';
import { assemble as assembleKeyVault } from '../../../services/key-vault/src/assemble.ts';
import { SimulatedRsa } from '../../../services/key-vault/src/rsa/simulated-rsa.ts';
import type { SealKeyStore } from '../../../services/key-vault/src/sealing/seal-key-store.ts';
import type { CipherWatch } from '../truth/cipher-watch.ts';

/** The settings a history may choose, in milliseconds; the bounds of G1 and G2 follow from them. */
export interface SimulatedSettings {
  /** How long a response of identity is used; also the life of a managed identity's token. */
  readonly authzTtlMs: number;
  /** How long a disk host's lease lasts, how long I/O waits for an unreachable vault, and when that counts as lost. */
  readonly leases: LeaseTerms;
  /** How long the disk host may use its volumes after its last renewal. A host on another machine waits for that time. */
  readonly hostLeaseTtlMs: number;
  /** How long after a replica's last heartbeat the others take over its work partitions. */
  readonly shareTtlMs: number;
  readonly sweepIntervalMs: number;
  readonly guestStopTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly userTokenMs: number;
  /** How often sets without progress are checked, and how often a rotation that waits for a key is retried. */
  readonly watchdogMs: number;
  readonly rotationRetryMs: number;
  /** How often a set that follows its key checks for a newer version, in addition to events about one. */
  readonly rotationCheckMs: number;
  readonly retentionDayMs: number;
  readonly watermarkMs: number;
  readonly silenceMs: number;
  /** When a VM host that does not renew is unreachable, and when it is lost. */
  readonly vmHosts: VmHostTerms;
}

/** Short enough that each passes in a history of minutes, long enough that idle time costs little. */
export const simulatedSettings: SimulatedSettings = {
  authzTtlMs: 5_000,
  leases: { ttlMs: 10_000, ioPauseTimeoutMs: 5_000, unreachableGraceMs: 30_000 },
  hostLeaseTtlMs: 30_000,
  shareTtlMs: 10_000,
  sweepIntervalMs: 5_000,
  guestStopTimeoutMs: 2_000,
  startTimeoutMs: 20_000,
  userTokenMs: 3_600_000,
  watchdogMs: 2_000,
  rotationRetryMs: 5_000,
  rotationCheckMs: 10_000,
  retentionDayMs: 60_000,
  watermarkMs: 4_000,
  silenceMs: 10_000,
  vmHosts: { ttlMs: 5_000, lostMs: 15_000 },
};

/** A principal with a secret. */
export interface Credentials {
  readonly id: string;
  /** `principals/<id>`. */
  readonly name: string;
  readonly secret: string;
}

/** The principals that exist at the start. */
export interface People {
  /** Has all rights. */
  readonly administrator: Credentials;
  readonly workloads: Readonly<Record<Workload, Credentials>>;
}

export const issuer = 'https://identity.simulation';
export const subscriptions = ['s1', 's2'] as const;

/** Id of the folder of a disk host. */
export const folderOf = (host: string): string => `volumes of ${host}`;

/** The principals and master keys of a cloud: another cloud on the same stores needs the same. */
export interface CloudSecrets {
  readonly people: People;
  readonly bootstrap: IdentitySettings['bootstrap'];
  readonly masterKeys: Readonly<Record<'identity' | 'vault' | 'disk', MasterKey>>;
}

/** The parts of a history's cloud in addition to its stores. */
export interface Deployment {
  readonly people: People;
  readonly tokenFormat: TokenFormat;
  /** The services over the hardware of one process. */
  services(hardware: Hardware): Readonly<Record<Workload, CloudService>>;
}

/** What a process uses in addition to the seams of every service. */
export interface Hardware {
  /** Names the machine it runs on. */
  readonly machine: string;
  /** Of a process with volumes; undefined: that of disk is a control process. */
  readonly diskHost:
    | {
        /** Unique name. */
        readonly name: string;
        readonly address: string;
        /** Whether a control process passes calls on to it. */
        readonly isOneOfMany: boolean;
        readonly volumes: VolumeFiles;
      }
    | undefined;
  /** Of compute: what runs the guests; `hosts`: VM hosts. */
  readonly driver: VmHost | 'hosts';
  readonly sealKeys: SealKeyStore;
  readonly ciphers: CipherWatch;
}

/** Draws the principals and master keys of a new cloud. */
export const makeCloudSecrets = (random: Pick<Random, 'uuid' | 'bytes'>): CloudSecrets => {
  const credentials = (secret: string): Credentials => {
    const id = random.uuid();
    return { id, name: `principals/${id}`, secret };
  };
  const administrator = credentials('administrator');
  const workloads = {
    identity: credentials('identity'),
    'key-vault': credentials('key-vault'),
    'disk-encryption-set': credentials('disk-encryption-set'),
    disk: credentials('disk'),
    compute: credentials('compute'),
  };
  const bootstrap = {
    tenant: { id: 'main', displayName: 'Main' },
    subscriptions: subscriptions.map((id) => ({ id, displayName: id })),
    administrator: {
      principalId: administrator.id,
      displayName: 'Administrator',
      secretHash: hashSecret(administrator.secret),
    },
    workloads: Object.entries(workloads).map(([service, { id, secret }]) => ({
      service,
      principalId: id,
      secretHash: hashSecret(secret),
    })),
    roleAssignments: ['roles/owner', 'roles/keyVaultAdministrator'].map((role) => ({
      id: random.uuid(),
      principalId: administrator.id,
      role,
      scope: '/',
    })),
  };
  const masterKeys = {
    identity: masterKey(random.bytes(32)),
    vault: masterKey(random.bytes(32)),
    disk: masterKey(random.bytes(32)),
  };
  return { people: { administrator, workloads }, bootstrap, masterKeys };
};

/** @param random for the keys that sign tokens */
export const createDeployment = (
  cloudSecrets: CloudSecrets,
  random: SeededRandom,
  settings: SimulatedSettings,
): Deployment => {
  const tokenFormat = simulatedTokens(random);
  return {
    people: cloudSecrets.people,
    tokenFormat,
    services: (hardware) => ({
      ...authorities(cloudSecrets, tokenFormat, hardware, settings),
      ...users(cloudSecrets, hardware, settings),
    }),
  };
};

const authorities = (
  { bootstrap, masterKeys }: CloudSecrets,
  tokenFormat: TokenFormat,
  hardware: Hardware,
  settings: SimulatedSettings,
): Readonly<Record<'identity' | 'key-vault', CloudService>> => ({
  identity: (seams) =>
    assembleIdentity({
      ...seams,
      settings: {
        bootstrap,
        masterKey: masterKeys.identity,
        issuer,
        lifetimes: { userMs: settings.userTokenMs, managedIdentityMs: settings.authzTtlMs },
        tokenFormat,
      },
    }),
  'key-vault': (seams) =>
    assembleKeyVault({
      ...seams,
      settings: {
        masterKeys: { current: masterKeys.vault, previous: [] },
        sealKeys: hardware.sealKeys,
        engine: (sealing) => new SimulatedRsa({ sealing, random: seams.random }),
        vaultUriSuffix: 'vault.simulation',
        purgeProtectionDefault: false,
        retentionDayMs: settings.retentionDayMs,
      },
    }),
});

const users = (
  { masterKeys }: CloudSecrets,
  hardware: Hardware,
  settings: SimulatedSettings,
): Readonly<Record<'disk-encryption-set' | 'disk' | 'compute', CloudService>> => ({
  'disk-encryption-set': (seams) =>
    assembleSets({
      ...seams,
      settings: {
        requirePurgeProtection: false,
        setsPerRegionMax: 100,
        upkeep: {
          watchdogMs: settings.watchdogMs,
          rotationRetryMs: settings.rotationRetryMs,
          rotationCheckIntervalMs: settings.rotationCheckMs,
          rotation: { concurrency: 4, pageSize: 8 },
        },
      },
    }),
  disk: (seams) => {
    const { diskHost, machine, ciphers } = hardware;
    const { leases, hostLeaseTtlMs } = settings;
    if (diskHost === undefined) {
      return assembleControl({ ...seams, settings: { hostLeaseTtlMs, callMaxMs: callMaxMsOf(leases) } });
    }
    const { name, address, volumes, isOneOfMany } = diskHost;
    return assembleDisk({
      ...seams,
      settings: {
        masterKey: masterKeys.disk,
        files: volumes,
        isOneOfMany,
        dataAddress: address,
        snapshotLimits: { perDiskMax: 50, recentMax: 20, recentMs: 60_000 },
        leases,
        host: { name, folder: folderOf(name), machine, ttlMs: hostLeaseTtlMs },
        watchCipher: (cipher, disk) => ciphers.watch(cipher, disk, name),
      },
    });
  },
  compute: (seams) =>
    assembleCompute({
      ...seams,
      settings: {
        driver: hardware.driver,
        startTimeoutMs: settings.startTimeoutMs,
        guestStopTimeoutMs: settings.guestStopTimeoutMs,
        leaseTtlMs: settings.leases.ttlMs,
        sweepIntervalMs: settings.sweepIntervalMs,
        dataDisksMax: 16,
        diskCallsMax: 16,
        ...(hardware.driver === 'hosts' ? { vmHosts: settings.vmHosts } : {}),
      },
    }),
});
