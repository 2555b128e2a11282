import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hostService } from '@interlock/host';
import { int, optional, systemRandom, text } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { leaseDefaults } from './keys/lease.ts';
import { leaseProblems } from './settings.ts';
import { folderVolumeFiles } from './volume/volume-files.ts';

await hostService({
  name: 'disk',
  env: process.env,
  settings: {
    dataFolder: text('Folder of this host alone for the volumes of disks and snapshots; made when missing'),
    masterKeyFile: text('File of 32 bytes the keys of the platform are sealed under; made when missing'),
    diskAddress: text('host:port of disk'),
    dataAddress: optional(text('host:port at which machines reach the data of disks; by default that of disk')),
    snapshotsPerDiskMax: int('Most incremental snapshots of one disk', { min: 1, default: 500 }),
    snapshotsRecentMax: int('Most incremental snapshots of one disk within SNAPSHOTS_RECENT_MS', {
      min: 1,
      default: 7,
    }),
    leaseTtlMs: int(
      'How long a yes of a vault lets data keys be used, from before it was asked for; see AUTHZ_TTL_MS',
      {
        min: 1_000,
        default: leaseDefaults.ttlMs,
      },
    ),
    ioPauseTimeoutMs: int('How long reads and writes wait for a vault that gives no answer once a lease is over', {
      min: 0,
      default: leaseDefaults.ioPauseTimeoutMs,
    }),
    unreachableGraceMs: int(
      'After how much silence beyond the end of a lease its key counts as lost, so that machines stop',
      {
        min: 0,
        default: leaseDefaults.unreachableGraceMs,
      },
    ),
    snapshotsRecentMs: int('Over how long SNAPSHOTS_RECENT_MAX counts', { min: 0, default: 300_000 }),
  },
  problems: leaseProblems,
  assemble: async (seams) => {
    const { settings } = seams;
    const volumeFolder = join(settings.dataFolder, 'volumes');
    await mkdir(volumeFolder, { recursive: true, mode: 0o700 });
    return assemble({
      ...seams,
      settings: {
        masterKey: await obtainMasterKey(settings.masterKeyFile, systemRandom),
        files: folderVolumeFiles(volumeFolder),
        dataAddress: settings.dataAddress ?? settings.diskAddress,
        snapshotLimits: {
          perDiskMax: settings.snapshotsPerDiskMax,
          recentMax: settings.snapshotsRecentMax,
          recentMs: settings.snapshotsRecentMs,
        },
        leases: {
          ttlMs: settings.leaseTtlMs,
          ioPauseTimeoutMs: settings.ioPauseTimeoutMs,
          unreachableGraceMs: settings.unreachableGraceMs,
        },
      },
    });
  },
});
