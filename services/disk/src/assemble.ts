import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Assemble, openSubscriptions } from '@interlock/host';
import { service } from '@interlock/rpc';
import type { MasterKey } from '@interlock/sealing';
import { diskApi, showDisk } from './disk/api.ts';
import { attachmentApi } from './disk/attachment-api.ts';
import { openClosing } from './disk/closing.ts';
import { openDiskCreation } from './disk/creation.ts';
import { openDiskGrowth } from './disk/growth.ts';
import { openOpening } from './disk/opening.ts';
import { disks as diskStreams } from './disk/state.ts';
import { createTurns } from './disk/turns.ts';
import { openBackground } from './host/background.ts';
import { openDiskCipher } from './host/cipher/dek.ts';
import type { SectorCipher } from './host/cipher/xts.ts';
import { createXtsMask } from './host/cipher/xts-mask.ts';
import { diskDataApi } from './host/data/api.ts';
import { diskDataDefinition } from './host/data/definition.ts';
import { openHolders } from './host/data/holders.ts';
import { readRoom } from './host/data/read-room.ts';
import { openRegaining } from './host/data/regaining.ts';
import { openSessions } from './host/data/sessions.ts';
import { openHeaders } from './host/header/genuine-headers.ts';
import { openStoredHeaders } from './host/header/stored-headers.ts';
import { holdFiles } from './host/held-files.ts';
import { openDeks } from './host/keys/deks.ts';
import { createKeyAccess } from './host/keys/key-access.ts';
import type { LeaseTerms } from './host/keys/lease.ts';
import { leaseApi } from './host/keys/lease-api.ts';
import { meterLeases } from './host/keys/lease-metrics.ts';
import { openLeases } from './host/keys/leases.ts';
import { openLossReports } from './host/keys/loss-reports.ts';
import { platformKey as openPlatformKey } from './host/keys/platform-key.ts';
import { openSetKeys } from './host/keys/set-keys.ts';
import { openLossTable } from './host/keys/set-losses.ts';
import { openSetOptions } from './host/keys/set-options.ts';
import { openVault } from './host/keys/vault.ts';
import { type HostIdentity, type Owner, takeOwnership } from './host/ownership.ts';
import type { VolumeFiles } from './host/volume/volume-files.ts';
import { openVolumeMaking } from './host/volume/volume-making.ts';
import { openVolumes } from './host/volume/volumes.ts';
import { openCatchUp } from './moves/catching-up.ts';
import { openEncryptionChange } from './moves/encryption-change.ts';
import { keyChangeApi } from './moves/key-change-api.ts';
import { openRewrapping } from './moves/rewrapping.ts';
import { toFact } from './published.ts';
import { reactions } from './reactor.ts';
import { openFollowing } from './reconcile/following.ts';
import { recover } from './reconcile/recovery.ts';
import { openSettling } from './reconcile/settling.ts';
import { openTidyLater, tidyHeaders } from './reconcile/tidying.ts';
import { type SnapshotLimits, scopeOfList, snapshotApi } from './snapshot/api.ts';
import { openSnapshotCreation } from './snapshot/creation.ts';
import { snapshots as snapshotStreams } from './snapshot/decider.ts';

/** What disk is told from outside. */
export interface DiskSettings {
  readonly masterKey: MasterKey;
  readonly files: VolumeFiles;
  /** `host:port` at which machines reach DiskDataService. */
  readonly dataAddress: string;
  readonly snapshotLimits: SnapshotLimits;
  readonly leases: LeaseTerms;
  /** Who this host is to others that may serve the same volumes. */
  readonly host: HostIdentity;
  /** Told when another host has taken the volumes: this process is of no use any more. */
  readonly onReplaced?: () => void;
  /** Keeps with the volumes who owns them. */
  readonly onTaken?: (owner: Owner) => Promise<void>;
  /** Sees each cipher of an open disk, and hands it or another on: the simulation watches which of them live. */
  readonly watchCipher?: (cipher: SectorCipher, disk: string) => SectorCipher;
}

/** HTTP/2 window of the data path: at 64 KiB, the default, each piece would wait for several round trips. */
const flowControlWindowBytes = 1024 * 1024;

/** What a call may take beside a pause of its I/O, in milliseconds: as long as a call of any other service. */
const callMs = 30_000;

/** Puts disk together. */
export const assemble: Assemble<DiskSettings> = async ({
  store,
  openCategory,
  clock,
  random,
  log,
  tracer,
  meter,
  settings,
  authorize,
  client,
  scope,
}) => {
  const disks = await openCategory(diskStreams);
  const snapshots = await openCategory(snapshotStreams);
  const platformKey = openPlatformKey(settings.masterKey, random);
  const mask = createXtsMask();
  const turns = createTurns();
  const { dataAddress, snapshotLimits: limits, leases: terms, watchCipher = (cipher) => cipher } = settings;
  const keyAccess = createKeyAccess(clock, terms);
  const losses = openLossTable(store);
  const options = openSetOptions(store);
  const sets = client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const setKeys = openSetKeys(store, sets, options);
  const identities = client('identity', IdentityServiceDefinition);
  const vault = openVault({
    connect: (credentials) => client('key-vault', KeyVaultServiceDefinition, { credentials }),
    identities,
    keyAccess,
    options,
    clock,
    tracer,
  });
  const background = { clock, random, log, tracer, signal: scope.signal };
  const compute = client('compute', ComputeServiceDefinition);
  const reports = openLossReports({ compute, diskHost: dataAddress, ...background });
  const leases = openLeases({ keyAccess, options, sets, reports, terms, ...background });
  scope.defer('lease metrics', meterLeases({ leases, keyAccess, meter, clock, ttlMs: terms.ttlMs }));
  const deks = openDeks({ vault, setKeys, platformKey, random });
  const holding = holdFiles(settings.files, () => ownership);
  const letGo = (): void => {
    holding.letGo().catch((error: unknown) => log.error('a volume could not be let go of', { error }));
  };
  const ownership = await takeOwnership({
    store,
    host: settings.host,
    clock,
    random,
    log,
    signal: scope.signal,
    onTaken: settings.onTaken,
    onEnd: letGo,
    onReplaced: settings.onReplaced ?? (() => undefined),
  });
  scope.defer('ownership', () => ownership.release());
  const volumes = openVolumes({
    files: holding.files,
    platformKey,
    hostEpoch: ownership.epoch,
    random,
    onLeft: (volumeId) => tidyLater(volumeId),
  });
  const tidyLater = openTidyLater({ volumes, ...background });
  scope.defer('volumes', () => volumes.close());
  const openCipher = (dek: Uint8Array, disk: string) => watchCipher(openDiskCipher(dek, mask), disk);
  const settling = openSettling({ turns, ...background });
  const stored = openStoredHeaders(store);
  const headers = openHeaders({ disks, snapshots, volumes, stored, log, meter });
  const opened = { disks, volumes, headers, deks, keyAccess, leases, turns, settling };
  const sessions = openSessions({
    ...opened,
    openCipher,
    watchHolder: (session) => holders.watch(session),
    clock,
    log,
  });
  const holders = openHolders({
    authorize,
    disks,
    sessions,
    turns,
    periodMs: terms.ttlMs,
    graceMs: terms.unreachableGraceMs,
    clock,
    random,
    log,
  });
  scope.defer('open disks', () => sessions.close());

  const making = openVolumeMaking({ ...opened, setKeys, terms, mask, ...background });
  const catchUp = openCatchUp({ store, disks, headers, stored, sessions, clock });
  const parts = { store, disks, snapshots, volumes, headers, stored, deks, vault, setKeys, turns };
  const around = { ...parts, catchUp, making, settling, ...background };
  const diskCreation = openDiskCreation(around);
  const snapshotCreation = openSnapshotCreation(around);
  const encryptionChange = openEncryptionChange(around);
  await losses.recall(keyAccess);
  await options.recall();
  const cause = { correlationId: random.uuid(), causationId: 'start', caller: 'system:disk' };
  await recover({ ...around, diskCreation, snapshotCreation, encryptionChange }, cause);
  await sessions.resume(cause);
  const moves = openBackground(clock);
  const following = openFollowing(around);
  void tidyHeaders({ ...around, background: moves, following }, cause);

  const rewrapping = openRewrapping({ ...around, sessions, keyAccess, following });
  const opening = openOpening({ ...around, sessions, keyAccess });
  const closing = openClosing({ disks, sessions, turns, clock });
  const growth = openDiskGrowth(around);
  const show = showDisk({ keyAccess, leases, sessions, volumes, clock });
  const regaining = openRegaining({ sessions, keyAccess, leases, ownership, terms, ...background });

  const control = service({
    definition: DiskServiceDefinition,
    implementation: {
      ...diskApi({
        ...around,
        creation: diskCreation,
        encryptionChange,
        growth,
        sessions,
        keyAccess,
        leases,
        authorize,
        subscriptions: openSubscriptions(identities),
        show,
      }),
      ...attachmentApi({ disks, opening, closing, sessions, turns, clock, random, log, dataAddress, show }),
      ...snapshotApi({ ...around, creation: snapshotCreation, keyAccess, leases, authorize, limits }),
      ...keyChangeApi({ disks, snapshots, vault, setKeys, rewrapping, background: moves, log }),
      ...leaseApi({ leases, keyAccess, reports, terms, diskHost: dataAddress, clock }),
    },
    authorization: {
      createDisk: {
        authenticated: true,
        why: 'compute/disks/write on its group and reading its source, or compute for its machine',
      },
      getDisk: { authenticated: true, why: 'compute/disks/read on it, or compute' },
      listDisks: { authenticated: true, why: 'compute/disks/read on the parent, else on the subscription, or compute' },
      deleteDisk: { authenticated: true, why: 'compute/disks/delete on it, or compute with its machine' },
      changeDiskEncryption: { action: 'compute/disks/write', scope: ({ name }) => name },
      growDisk: { action: 'compute/disks/write', scope: ({ name }) => name },
      createSnapshot: { action: 'compute/snapshots/write', scope: ({ parent }) => parent },
      getSnapshot: { action: 'compute/snapshots/read', scope: ({ name }) => name },
      listSnapshots: { action: 'compute/snapshots/read', scope: scopeOfList },
      deleteSnapshot: { action: 'compute/snapshots/delete', scope: ({ name }) => name },
      attachDisk: { workload: ['compute'] },
      openDisks: { workload: ['compute'] },
      closeDisks: { workload: ['compute'] },
      detachDisk: { workload: ['compute'] },
      beginAccess: { action: 'compute/disks/beginAccess', scope: ({ name }) => name },
      endAccess: { action: 'compute/disks/beginAccess', scope: ({ name }) => name },
      checkKeyAccess: { workload: ['disk-encryption-set'] },
      beginGeneration: { workload: ['disk-encryption-set'] },
      listEncryptedResources: { workload: ['disk-encryption-set'] },
      rewrapDeks: { workload: ['disk-encryption-set'] },
      listLeases: {
        action: 'compute/diskEncryptionSets/read',
        scope: ({ diskEncryptionSet }) => diskEncryptionSet || '/',
      },
    },
  });
  const data = service({
    definition: diskDataDefinition,
    implementation: diskDataApi({
      sessions,
      holders,
      keyAccess,
      regaining,
      ownership,
      background: moves,
      terms,
      clock,
      room: readRoom(clock),
    }),
    // The access token is the credential: it is for one disk and one open, ends with it, and a guest has no other.
    authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
  });

  return {
    services: [control, data],
    toFact,
    reactions: [{ source: 'disk-encryption-set', handlers: reactions({ losses, keyAccess, leases, options, clock }) }],
    server: {
      channelOptions: { 'grpc-node.flow_control_window': flowControlWindowBytes },
      deadlineMaxMs: terms.ioPauseTimeoutMs + callMs,
    },
  };
};
