import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { enterHostFolder, hostService, watchFolderSpace } from '@interlock/host';
import { assemble } from './assemble.ts';
import { GuestDriver } from './guests/guest-driver.ts';
import { ownGuests } from './guests/guests.ts';
import { idleDriver } from './guests/idle-driver.ts';
import { endOrphansUntil } from './processes/orphans.ts';
import { computeSpec } from './settings.ts';

/** The little of the environment a guest gets: no secrets are in these. */
const guestEnvironment = ['PATH', 'NODE_COMPILE_CACHE', 'TZ'];

await hostService({
  name: 'compute',
  env: process.env,
  args: process.argv.slice(2),
  settings: computeSpec,
  assemble: async (seams) => {
    const { settings, clock, log, tls } = seams;
    const folder = join(settings.dataFolder, 'guests');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    void watchFolderSpace({ ...seams, folder });
    const parentPid = settings.guestParentPid ?? settings.interlockParentPid;
    const driver =
      settings.guestDriver === 'idle'
        ? idleDriver()
        : new GuestDriver({
            folder,
            tls,
            ioTimeoutMs: settings.guestIoTimeoutMs,
            ...(parentPid === undefined ? {} : { parentPid }),
            qemu: {
              imageFolder: settings.guestImageFolder ?? join(settings.dataFolder, 'guest-image'),
              memoryMib: settings.guestMemoryMib,
              cpus: settings.guestCpus,
              bootMs: settings.guestBootMs,
              responseMs: settings.guestResponseMs,
            },
            node: process.execPath,
            env: Object.fromEntries(
              guestEnvironment.flatMap((name) => {
                const value = process.env[name];
                return value === undefined ? [] : [[name, value]];
              }),
            ),
            clock,
            log,
          });
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
