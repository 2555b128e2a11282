import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { Seams } from '@interlock/host';
import { names, service } from '@interlock/rpc';
import type { KeyedMutex } from '@interlock/runtime';
import type { RetryQueue } from '../retry-queue.ts';
import type { DiskSettings } from '../settings.ts';
import { Background } from './background.ts';
import { openDiskCipher } from './cipher/dek.ts';
import { createXtsMask } from './cipher/xts-mask.ts';
import { diskDataApi } from './data/api.ts';
import { diskDataDefinition } from './data/definition.ts';
import { Holders } from './data/holders.ts';
import { ReadRoom } from './data/read-room.ts';
import { openRegaining } from './data/regaining.ts';
import { SessionIo } from './data/session-io.ts';
import { Sessions } from './data/sessions.ts';
import { type DiskHost, isDamaged, LocalDiskHost } from './disk-host.ts';
import { erasePrevious } from './header/disk-header.ts';
import { openDeks } from './keys/deks.ts';
import { HostLosses, openHostLossTable } from './keys/host-losses.ts';
import { createKeyAccess, type SetKeyVersion } from './keys/key-access.ts';
import { leaseApi } from './keys/lease-api.ts';
import { meterLeases } from './keys/lease-metrics.ts';
import { openLeases } from './keys/leases.ts';
import { openLossReports } from './keys/loss-reports.ts';
import { platformKey as openPlatformKey } from './keys/platform-key.ts';
import type { SetClient, SetKeys } from './keys/set-keys.ts';
import type { SetOptions } from './keys/set-options.ts';
import { ThreadGate } from './keys/thread-gate.ts';
import { openVault } from './keys/vault.ts';
import type { NbdServerParts } from './nbd/door.ts';
import { sessionExports } from './nbd/export.ts';
import { holdFiles } from './owner/held-files.ts';
import { type Ownership, takeOwnership } from './owner/ownership.ts';
import type { DiskRecords } from './records.ts';
import { Headers } from './volume/authentic-headers.ts';
import { VolumeMaking } from './volume/volume-making.ts';
import { Volumes } from './volume/volumes.ts';

/** What the host needs of the control side. */
interface OfControl {
  readonly records: DiskRecords;
  readonly setKeys: SetKeys;
  readonly sets: SetClient;
  readonly options: SetOptions;
  readonly turns: KeyedMutex;
  readonly retries: RetryQueue;
  /** As of `SessionsParts`. */
  readonly endForeignMove: (name: string) => Promise<void>;
}

/** Takes the volumes of this host's folder and assembles what serves them. */
export const assembleHost = async (seams: Seams<DiskSettings>, control: OfControl) => {
  const keys = assembleKeys(seams, control);
  // Nothing is open before the sessions exist.
  let endClosed: () => Promise<void> = async () => undefined;
  const owned = await takeVolumes(seams, control, () => endClosed());
  const opened = assembleAccess(seams, control, keys, owned);
  endClosed = () => opened.sessions.endClosed();
  return { ...keys, ...opened, ...dataDoors(seams, keys, owned, opened) };
};

/** The keys of this host: leases, reports of losses, and the vault. */
const assembleKeys = (seams: Seams<DiskSettings>, { setKeys, sets, options }: OfControl) => {
  const { store, clock, random, log, tracer, meter, settings, client, scope } = seams;
  const { leases: terms } = settings;
  const running = { clock, random, log, tracer, signal: scope.signal };
  const keyAccess = createKeyAccess(clock, terms);
  setKeys.listen((set, key) => keyAccess.inForce(set, key));
  const compute = client('compute', ComputeServiceDefinition);
  const stored = (key: SetKeyVersion) => hostLosses.stored(key);
  const diskHost = names.diskHost.format({ diskHost: settings.host.name });
  const reports = openLossReports({ compute, diskHost, stored, ...running });
  const leases = openLeases({ keyAccess, options, sets, reports, terms, ...running });
  const hostLosses: HostLosses = new HostLosses({
    ...{ store, table: openHostLossTable(store), host: settings.host.name, keyAccess, leases, ...running },
  });
  scope.defer(
    'lease metrics',
    meterLeases({ leases, keyAccess, meter, clock, ttlMs: terms.ttlMs, host: settings.host.name }),
  );
  const vault = openVault({
    connect: (credentials) => client('key-vault', KeyVaultServiceDefinition, { credentials }),
    identities: client('identity', IdentityServiceDefinition),
    keyAccess,
    options,
    clock,
    tracer,
  });
  const platformKey = openPlatformKey(settings.masterKey, random);
  const deks = openDeks({ vault, setKeys, platformKey, random });
  return {
    keyAccess,
    leases,
    hostLosses,
    vault,
    deks,
    leaseApi: leaseApi({ leases, keyAccess, reports, terms, diskHost, clock }),
  };
};

/** Takes the volumes of the folder, after the lease of another host has expired. */
const takeVolumes = async (
  seams: Seams<DiskSettings>,
  { records, retries }: OfControl,
  endClosed: () => Promise<void>,
) => {
  const { store, clock, random, log, meter, settings, scope } = seams;
  const holding = holdFiles(settings.files, () => ownership);
  const ownership: Ownership = await takeOwnership({
    store,
    host: settings.host,
    clock,
    random,
    log,
    signal: scope.signal,
    onTaken: settings.onTaken,
    endClosed,
    offer: () => ({
      zone: settings.zone ?? '',
      dataAddress: settings.dataAddress,
      nbdAddress: settings.nbd?.address ?? '',
      grpcAddress: settings.grpcAddress ?? settings.dataAddress,
      ...settings.space?.(),
    }),
    onEnd: () => {
      holding.letGo().catch((error: unknown) => log.error('a file of a volume could not be closed', { error }));
    },
    onReplaced: settings.onReplaced ?? (() => undefined),
  });
  let isFlushed = false;
  const noteFlushed = (are: boolean): void => {
    isFlushed = are;
  };
  scope.defer('ownership', () => ownership.release(isFlushed));
  const platformKey = openPlatformKey(settings.masterKey, random);
  const onPreviousLeft = (volumeId: string): void => eraseLater(volumes, retries, volumeId);
  const { epoch: hostEpoch } = ownership;
  const volumes: Volumes = new Volumes({ files: holding.files, platformKey, hostEpoch, random, onPreviousLeft });
  scope.defer('volumes', () => volumes.close());
  const headers = new Headers({ records, volumes, log, meter });
  return { ownership, volumes, headers, noteFlushed };
};

/**
 * Erases the previous slot of a header whose change failed, as soon as the storage allows it: the event of the change may be
 * stored, and then nothing else erases the earlier wrap. Rules CMK-10, CMK-89.
 */
const eraseLater = (volumes: Volumes, retries: RetryQueue, volumeId: string): void => {
  const name = `header of volume ${volumeId}`;
  if (retries.has(name)) return;
  retries.add(name, () =>
    volumes.withHeader(volumeId, erasePrevious).catch((error: unknown) => {
      // An operator has to look at it; or the volume was removed meanwhile.
      if (!isDamaged(error)) throw error;
    }),
  );
};

/** Open disks, new volumes and copies. */
const assembleAccess = (
  seams: Seams<DiskSettings>,
  { records, setKeys, turns, retries, endForeignMove }: OfControl,
  keys: ReturnType<typeof assembleKeys>,
  { ownership, volumes, headers, noteFlushed }: Awaited<ReturnType<typeof takeVolumes>>,
) => {
  const { clock, random, log, settings, authorize, cachedGrant, scope } = seams;
  const { leases: terms, watchCipher = (cipher) => cipher } = settings;
  const { keyAccess, leases, vault, deks } = keys;
  const mask = createXtsMask();
  const sessions: Sessions = new Sessions({
    ...{ records, volumes, ownership, headers, deks, keyAccess, leases, turns, retries, clock, log },
    openCipher: (dek, disk) => watchCipher(openDiskCipher(dek, mask), disk),
    openThreadGate: settings.nbd?.isThreaded ? (dek) => new ThreadGate(dek) : undefined,
    endForeignMove,
    watchHolder: (session) => holders.watch(session),
  });
  const holders = new Holders({
    ...{ authorize, cachedGrant, records, sessions, clock, random, log },
    periodMs: terms.ttlMs,
    graceMs: terms.unreachableGraceMs,
  });
  scope.defer('open disks', async () => noteFlushed(await sessions.close()));
  const making = new VolumeMaking({
    ...{ records, volumes, headers, deks, keyAccess, leases, terms, mask, clock, random, setKeys },
    signal: scope.signal,
  });
  const background = new Background(clock);
  const parts = { volumes, headers, making, deks, vault, sessions, keyAccess, leases, background };
  const host: DiskHost = new LocalDiskHost(parts);
  return { host, sessions, holders, background };
};

/** Reads, writes and flushes: by gRPC, and by NBD where that is configured. */
const dataDoors = (
  { clock, random, log, settings, scope }: Seams<DiskSettings>,
  { leases }: ReturnType<typeof assembleKeys>,
  { ownership }: Awaited<ReturnType<typeof takeVolumes>>,
  { sessions, holders, background }: ReturnType<typeof assembleAccess>,
) => {
  const { leases: terms } = settings;
  const regaining = openRegaining({ sessions, leases, ownership, terms, clock, signal: scope.signal });
  const io = new SessionIo({ sessions, holders, regaining, ownership, background, terms, clock });
  const newCause = () => ({ correlationId: random.uuid(), causes: [], caller: 'system:nbd' });
  const exports = sessionExports({ io, openDisks: () => sessions.names(), newCause, signal: scope.signal });
  const nbd: NbdServerParts = { exports, io, clock, log };
  const data = service({
    definition: diskDataDefinition,
    implementation: diskDataApi(io, new ReadRoom(clock)),
    // The access token is the credential: it is for one disk and one open, and ends with it.
    authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
  });
  return { data, nbd };
};
