import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  enterHostFolder,
  type FolderSpace,
  folderId,
  type HostSeams,
  lockFolder,
  watchFolderSpace,
} from '@interlock/host';
import { type ConfigOf, systemClock, systemRandom } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { type NbdAddress, parseNbdAddress } from './host/nbd/address.ts';
import { threadedNbdServer } from './host/nbd/thread/threaded.ts';
import { machineId, readOwner, requireMasterKeyOf, writeOwner } from './host/owner/folder-identity.ts';
import { findSealedByPlatform, folderVolumeFiles } from './host/storage/volume-files.ts';
import { type DiskSettings, type diskSpec, leaseTermsOf } from './settings.ts';

/** The seams of a process that has a folder. */
type Process = HostSeams<ConfigOf<typeof diskSpec>> & {
  readonly settings: { readonly dataFolder: string; readonly masterKeyFile: string };
};

/** An earlier process that is stopping has this time to end, in milliseconds. */
const patienceMs = 30_000;

/** Waits for the lock of the folder of volumes. */
const lockVolumes = async ({ scope, log }: Process, folder: string): Promise<void> => {
  const unlock = await lockFolder(folder, {
    clock: systemClock,
    patienceMs,
    signal: scope.signal,
    onWaiting: () => log.info('another process has the volumes: waiting for its end', { folder, patienceMs }),
  });
  scope.defer('volume folder', async () => unlock());
};

/**
 * Takes the folder of this process: its lock, its id, its master key, its files.
 * @returns the settings with which the service is assembled
 */
export const openHostProcess = async (seams: Process): Promise<DiskSettings> => {
  const { settings, scope, random, log, tls } = seams;
  const isOneOfMany = settings.diskRole === 'host';
  const volumeFolder = join(settings.dataFolder, 'volumes');
  await mkdir(volumeFolder, { recursive: true, mode: 0o700 });
  let space: FolderSpace | undefined;
  void watchFolderSpace({ ...seams, folder: volumeFolder, onRead: (read) => (space = read) });
  await lockVolumes(seams, volumeFolder);
  // The supervisor of this process starts a new one, which then waits for the lock.
  const onReplaced = () => process.kill(process.pid, 'SIGTERM');
  // A host beside others proves its folder when it registers.
  const folder = isOneOfMany
    ? await folderId(volumeFolder, random)
    : await enterHostFolder({ ...seams, folder: volumeFolder, lost: settings.lostFolderId, onReplaced });
  const files = folderVolumeFiles(volumeFolder);
  scope.defer('volume files', () => files.close());
  const findSealed = () => findSealedByPlatform(volumeFolder);
  const masterKey = await obtainMasterKey(settings.masterKeyFile, systemRandom, findSealed);
  await requireMasterKeyOf(volumeFolder, masterKey, findSealed);
  const nbdOf = (address: NbdAddress) => {
    const { nbdAddress: advertised, nbdSocketGroup: socketGroup } = settings;
    return threadedNbdServer(address, { tls, advertised, socketGroup, pathOf: files.pathOfData });
  };
  const nbdAddress = settings.nbdListen === undefined ? undefined : parseNbdAddress(settings.nbdListen);
  log.info('the folder of volumes is taken', { diskHost: settings.diskHost, folder: volumeFolder, folderId: folder });
  return {
    masterKey,
    ...(nbdAddress === undefined ? {} : { nbd: nbdOf(nbdAddress) }),
    files,
    isOneOfMany,
    dataAddress: settings.dataAddress ?? settings.diskAddress,
    grpcAddress: settings.diskAddress,
    zone: settings.hostZone,
    space: () => space,
    snapshotLimits: {
      perDiskMax: settings.snapshotsPerDiskMax,
      recentMax: settings.snapshotsRecentMax,
      recentMs: settings.snapshotsRecentMs,
    },
    leases: leaseTermsOf(settings),
    host: {
      name: settings.diskHost,
      folder,
      machine: await machineId(),
      ttlMs: settings.hostLeaseTtlMs,
      lastOwner: await readOwner(volumeFolder),
      lostFolder: settings.lostFolderId,
    },
    onTaken: (owner) => writeOwner(volumeFolder, owner),
    onReplaced,
  };
};
