import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hostService } from '@interlock/host';
import { systemRandom } from '@interlock/runtime';
import { obtainMasterKey } from '@interlock/sealing';
import { assemble } from './assemble.ts';
import { diskSpec, leaseProblems, leaseTermsOf } from './settings.ts';
import { folderVolumeFiles } from './volume/volume-files.ts';

await hostService({
  name: 'disk',
  env: process.env,
  settings: diskSpec,
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
        leases: leaseTermsOf(settings),
      },
    });
  },
});
