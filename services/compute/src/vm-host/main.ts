import { join } from 'node:path';
import { hostProcess, lockFolder, watchFolderSpace } from '@interlock/host';
import { openGuests } from '../guests/guest-settings.ts';
import { assembleVmHost } from './assemble.ts';
import { placementFiles } from './placement-files.ts';
import { vmHostProblems, vmHostSpec } from './settings.ts';

/** An earlier process that is stopping has this time to end, in milliseconds. */
const patienceMs = 30_000;

await hostProcess({
  name: 'vm-host',
  workload: 'compute',
  env: process.env,
  args: process.argv.slice(2),
  settings: vmHostSpec,
  problems: vmHostProblems,
  hostOf: ({ vmHost }) => vmHost,
  assemble: async (seams) => {
    const { settings, clock, scope, log } = seams;
    const { folder, driver } = openGuests(settings, seams, { env: process.env, node: process.execPath });
    const unlock = await lockFolder(folder, {
      ...{ clock, patienceMs, signal: scope.signal },
      onWaiting: () => log.info('another process has the guests: waiting for its end', { folder, patienceMs }),
    });
    scope.defer('guest folder', async () => unlock());
    void watchFolderSpace({ ...seams, folder });
    return assembleVmHost({ ...seams, driver, files: placementFiles(join(settings.dataFolder, 'placements')) });
  },
});
