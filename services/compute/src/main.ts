import { enterHostFolder, hostService, watchFolderSpace } from '@interlock/host';
import { assemble } from './assemble.ts';
import { openGuests } from './guests/guest-settings.ts';
import { ownGuests } from './guests/guests.ts';
import { idleDriver } from './guests/idle-driver.ts';
import { endOrphansUntil } from './processes/orphans.ts';
import { computeSpec } from './settings.ts';

await hostService({
  name: 'compute',
  env: process.env,
  args: process.argv.slice(2),
  settings: computeSpec,
  assemble: async (seams) => {
    const { settings } = seams;
    if (settings.guestDriver === 'hosts') {
      const vmHosts = { ttlMs: settings.vmHostTtlMs, lostMs: settings.vmHostLostMs };
      return assemble({ ...seams, settings: { ...settings, vmHosts, driver: 'hosts' } });
    }
    const { folder, driver: own } = openGuests(settings, seams, { env: process.env, node: process.execPath });
    void watchFolderSpace({ ...seams, folder });
    const driver = settings.guestDriver === 'idle' ? idleDriver() : own;
    await enterHostFolder({
      ...seams,
      folder,
      lost: settings.lostFolderId,
      // What starts processes here starts a new one, which is not ready then.
      onReplaced: () => process.kill(process.pid, 'SIGTERM'),
      meanwhile: (signal) =>
        endOrphansUntil(signal, { ...seams, guests: ownGuests(driver), intervalMs: settings.sweepIntervalMs }),
    });
    return assemble({ ...seams, settings: { ...settings, driver } });
  },
});
