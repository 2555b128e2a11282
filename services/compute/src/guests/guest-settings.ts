import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Seams } from '@interlock/host';
import { type ConfigOf, int, optional, text } from '@interlock/runtime';
import { ioTimeoutDefaultMs } from '../guest/disk-io.ts';
import { GuestDriver } from './guest-driver.ts';

/** Settings of a process that runs guests: a VM host, or compute itself. */
export const guestSpec = {
  dataFolder: text('Folder of the service; `guests` contains the guests and their journals'),
  diskAddress: text('host:port of disk; a guest asks there if the host of a disk does not respond'),
  guestParentPid: optional(
    int('Process whose end ends the guests; default: the process that started this service', { min: 1 }),
  ),
  interlockParentPid: optional(int('Process that started this service', { min: 1 })),
  guestIoTimeoutMs: int('Longest read, write or flush of a guest, for example while the disk host is replaced', {
    min: 100,
    default: ioTimeoutDefaultMs,
  }),
  guestImageFolder: optional(text('Folder that interlock image build wrote; machines in QEMU boot from it')),
  guestMemoryMib: int('Memory of a machine in QEMU, in MiB', { min: 64, default: 256 }),
  guestCpus: int('Processors of a machine in QEMU', { min: 1, default: 1 }),
  guestBootMs: int('Longest boot of a machine in QEMU', { min: 1_000, default: 60_000 }),
  guestResponseMs: int('How long QEMU may leave a command without a response before its machine is ended', {
    min: 1_000,
    default: 60_000,
  }),
} as const;

/** The little of the environment a guest gets: no secrets are in these. */
const guestEnvironment = ['PATH', 'NODE_COMPILE_CACHE', 'TZ'];

/**
 * Opens the guests of a process, in `guests` of its folder.
 * @param env the environment of the process
 * @param node the Node that runs guests
 */
export const openGuests = (
  settings: ConfigOf<typeof guestSpec>,
  seams: Pick<Seams<unknown>, 'tls' | 'clock' | 'log'>,
  { env, node }: { readonly env: Readonly<Record<string, string | undefined>>; readonly node: string },
): { readonly folder: string; readonly driver: GuestDriver } => {
  const { clock, log, tls } = seams;
  const folder = join(settings.dataFolder, 'guests');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const parentPid = settings.guestParentPid ?? settings.interlockParentPid;
  const driver = new GuestDriver({
    ...{ folder, tls, node, clock, log },
    ioTimeoutMs: settings.guestIoTimeoutMs,
    diskAddresses: settings.diskAddress.split(','),
    ...(parentPid === undefined ? {} : { parentPid }),
    qemu: {
      imageFolder: settings.guestImageFolder ?? join(settings.dataFolder, 'guest-image'),
      memoryMib: settings.guestMemoryMib,
      cpus: settings.guestCpus,
      bootMs: settings.guestBootMs,
      responseMs: settings.guestResponseMs,
    },
    env: Object.fromEntries(
      guestEnvironment.flatMap((name) => {
        const value = env[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
  });
  return { folder, driver };
};
