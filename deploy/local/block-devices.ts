import { createHash } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataFolder } from './data-folder.ts';

/** The group `nogroup`, which every Linux has. Machines in QEMU run in it if root runs this cloud. */
const nogroup = 65_534;

/** Where the disk host of a cloud listens for NBD clients of this machine. */
export interface BlockDevices {
  /** Settings of the services. */
  readonly settings: Readonly<Record<string, string>>;
  /** Settings of a disk host beside others: each has a socket of its own. */
  settingsOf(host: string): Readonly<Record<string, string>>;
  /** Removes the folder of the socket. */
  remove(): void;
}

/**
 * Creates the folder of the socket outside of the data folder: the path of a socket has at most 107 characters, and QEMU, which
 * runs as another user if root runs this process, must be able to reach it.
 */
export const openBlockDevices = (data: DataFolder): BlockDevices => {
  const name = createHash('sha256').update(data.root).digest('hex').slice(0, 16);
  const folder = join(tmpdir(), `interlock-nbd-${name}`);
  const isRoot = process.getuid?.() === 0;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  if (isRoot) {
    chownSync(folder, 0, nogroup);
    chmodSync(folder, 0o710);
  }
  const settingsOf = (host: string): Readonly<Record<string, string>> => ({
    NBD_LISTEN: `unix:${join(folder, `${host}.sock`)}`,
    ...(isRoot ? { NBD_SOCKET_GROUP: String(nogroup) } : {}),
  });
  return {
    settings: settingsOf('disk'),
    settingsOf,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
};
