import type { GuestDisk } from '../guests/vm-host.ts';
import { portCount } from './command-line.ts';
import type { Qmp } from './qmp.ts';
import { serialOf } from './records.ts';

/** How long QEMU waits for a disk host that restarts before a request fails and stops the machine, in seconds. */
const reconnectSeconds = 30;

/** The path of the socket of an NBD address. @throws Error if the disk is not served at a socket of this host */
export const socketOf = ({ disk, nbdAddress }: Pick<GuestDisk, 'disk' | 'nbdAddress'>): string => {
  const [, path] = /^unix:(\/.+)$/.exec(nbdAddress) ?? [];
  if (path !== undefined) return path;
  const found = nbdAddress === '' ? 'no block device' : `a block device at ${nbdAddress}`;
  throw new Error(
    `the disk host serves ${disk} as ${found}; a QEMU machine needs one at a Unix socket: set NBD_LISTEN of disk to unix:/path`,
  );
};

/** Requests that fail stop the machine instead of its file systems; it continues with the request once that may succeed. */
const onError = { werror: 'stop', rerror: 'stop' } as const;

/** Adds a disk. @param ports names of ports in use @throws QmpError, QmpSilence, Error without a free port */
export const addDisk = async (qmp: Qmp, disk: GuestDisk, ports: Map<string, string>, timeoutMs: number) => {
  const free = Array.from({ length: portCount }, (_, n) => `port${n}`).find(
    (port) => ![...ports.values()].includes(port),
  );
  if (free === undefined) throw new Error(`the machine has no free port: at most ${portCount} disks`);
  const serial = serialOf(disk);
  await qmp.execute(
    'blockdev-add',
    {
      driver: 'nbd',
      'node-name': serial,
      server: { type: 'unix', path: socketOf(disk) },
      export: `${disk.disk}@${disk.accessToken}`,
      'reconnect-delay': reconnectSeconds,
      // The host's own page cache would hold decrypted content.
      cache: { direct: true },
    },
    timeoutMs,
  );
  ports.set(serial, free);
  const device = { driver: 'virtio-blk-pci', id: serial, bus: free, drive: serial, serial, ...onError };
  await qmp.execute('device_add', device, timeoutMs);
};

/** Asks the guest to release a disk. The device is gone when QEMU publishes DEVICE_DELETED. */
export const requestRemoval = (qmp: Qmp, disk: Pick<GuestDisk, 'isOs' | 'lun'>, timeoutMs: number) =>
  qmp.execute('device_del', { id: serialOf(disk) }, timeoutMs);

/** Closes the connection of a disk whose device is gone. */
export const closeDisk = async (qmp: Qmp, serial: string, ports: Map<string, string>, timeoutMs: number) => {
  await qmp.execute('blockdev-del', { 'node-name': serial }, timeoutMs);
  ports.delete(serial);
};
