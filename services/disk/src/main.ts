import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setDefaultHighWaterMark } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { enterHostFolder, type FolderSpace, hostService, watchFolderSpace } from '@interlock/host';
import { systemClock, systemRandom } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { type NbdAddress, parseNbdAddress } from './host/nbd/address.ts';
import { threadedNbdServer } from './host/nbd/thread/threaded.ts';
import { lockFolder, machineId, readOwner, requireMasterKeyOf, writeOwner } from './host/owner/folder-identity.ts';
import { findSealedByPlatform, folderVolumeFiles } from './host/storage/volume-files.ts';
import { diskProblems, diskSpec, leaseTermsOf } from './settings.ts';

// Reads and writes pass through memory outside of V8's heap, some 2 MiB each. V8 of Node 24 counts that against the limit of
// the heap, which is small here, and examines all of it after every few MiB. This flag counts it separately, as later releases
// do: up to 64 MiB wait to be freed instead.
setFlagsFromString('--external-memory-accounted-in-global-limit');
// Mark-compact collections after so much growth, not after some 50 %: their cost was a fifth of a write's, mostly for what does
// not die. It takes some 60 MiB more memory under load.
setFlagsFromString('--heap-growing-percent=200');

// A response stream counts messages: with the default, 16 of 64 KiB, each read whose client takes nothing would hold 1 MiB.
setDefaultHighWaterMark(true, 2);

await hostService({
  name: 'disk',
  env: process.env,
  args: process.argv.slice(2),
  settings: diskSpec,
  problems: diskProblems,
  assemble: async (seams) => {
    const { settings } = seams;
    const volumeFolder = join(settings.dataFolder, 'volumes');
    await mkdir(volumeFolder, { recursive: true, mode: 0o700 });
    let space: FolderSpace | undefined;
    void watchFolderSpace({ ...seams, folder: volumeFolder, onRead: (read) => (space = read) });
    const standing = new AbortController();
    let stoodBy = Promise.resolve();
    const unlock = await lockFolder(volumeFolder, {
      clock: systemClock,
      // An earlier process that is stopping has this time to end.
      patienceMs: settings.standby ? Number.POSITIVE_INFINITY : 30_000,
      signal: seams.scope.signal,
      onWaiting: () => {
        seams.log.info('another process serves the volumes: standing by', { folder: volumeFolder });
        if (!settings.standby) return;
        stoodBy = seams.partitions.standBy(AbortSignal.any([standing.signal, seams.scope.signal]));
        // A standby that ends removes its record while its store is open.
        seams.scope.defer('standing by', () => stoodBy);
        process.stdout.write(`${JSON.stringify({ standby: true, service: 'disk' })}\n`);
      },
    });
    standing.abort();
    await stoodBy;
    seams.scope.defer('volume folder', async () => unlock());
    // The supervisor of this process starts a new one, which then waits for the lock.
    const onReplaced = () => process.kill(process.pid, 'SIGTERM');
    const folder = await enterHostFolder({ ...seams, folder: volumeFolder, lost: settings.lostFolderId, onReplaced });
    const files = folderVolumeFiles(volumeFolder);
    seams.scope.defer('volume files', () => files.close());
    const findSealed = () => findSealedByPlatform(volumeFolder);
    const masterKey = await obtainMasterKey(settings.masterKeyFile, systemRandom, findSealed);
    await requireMasterKeyOf(volumeFolder, masterKey, findSealed);
    const nbdOf = (address: NbdAddress) =>
      threadedNbdServer(address, {
        tls: seams.tls,
        advertised: settings.nbdAddress,
        socketGroup: settings.nbdSocketGroup,
        pathOf: files.pathOfData,
      });
    const nbdAddress = settings.nbdListen === undefined ? undefined : parseNbdAddress(settings.nbdListen);
    return assemble({
      ...seams,
      settings: {
        masterKey,
        ...(nbdAddress === undefined ? {} : { nbd: nbdOf(nbdAddress) }),
        files,
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
      },
    });
  },
});
