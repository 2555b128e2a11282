import { readdirSync } from 'node:fs';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { folderOfDiskHost, isDiskHostName } from '@interlock/local/services.ts';
import { type Search, searchFiles } from './search.ts';
import { findVolumes, type Volume } from './volume.ts';

/** Places of a disk whose bytes are compared. */
export interface WantedVolume {
  /** UUID of the disk. */
  readonly id: string;
  readonly ranges: readonly { readonly offset: number; readonly length: number }[];
}

/** The files of the hosts of disks and of guests, as they are on their volumes. */
export interface HostFiles {
  /** The volumes of disks, by disk id; without those that do not exist. `raw` has the bytes of the wanted ranges. */
  volumes(wanted: readonly WantedVolume[]): Promise<ReadonlyMap<string, Volume>>;
  /** Searches all files for byte strings. @param needles by label; 8 bytes or more each */
  search(needles: Readonly<Record<string, Uint8Array>>): Promise<Search>;
}

/** The files of a cloud on this machine. */
export const localFiles = (data: DataFolder): HostFiles => ({
  async volumes(wanted) {
    const ids = new Set(wanted.map(({ id }) => id));
    const found = diskFolders(data).flatMap((folder) => [...findVolumes(folder)]);
    return new Map(found.filter(([id]) => ids.has(id)));
  },
  search: async (needles) => searchFiles(data.root, needles),
});

/** The folders of all disk hosts. */
const diskFolders = (data: DataFolder): readonly string[] =>
  readdirSync(data.path('services'))
    .filter((name) => name === folderOfDiskHost(0) || isDiskHostName(name))
    .map((name) => data.path('services', name));
