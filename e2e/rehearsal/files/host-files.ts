import { readdirSync } from 'node:fs';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { folderOfDiskHost, isDiskHostName } from '@interlock/local/services.ts';
import { filesBelow, type Search, searchPlaces } from '../../canary/places.ts';
import { createScanner, type Secret } from '../../canary/scanner.ts';
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
  /** Searches all files but disks. */
  search(secrets: readonly Secret[]): Promise<Search>;
}

/** The files of a cloud on this machine. */
export const localFiles = (data: DataFolder): HostFiles => ({
  async volumes(wanted) {
    const ids = new Set(wanted.map(({ id }) => id));
    const found = diskFolders(data).flatMap((folder) => [...findVolumes(folder)]);
    return new Map(found.filter(([id]) => ids.has(id)));
  },
  search: (secrets) => searchFolder(data.root, secrets),
});

/** Searches the files below a folder, but not those of disks. */
export const searchFolder = (folder: string, secrets: readonly Secret[]): Promise<Search> => {
  const scanner = createScanner(secrets);
  return searchPlaces(scanner, filesBelow(folder, scanner.overlap, 'skip'));
};

/** The folders of all disk hosts. */
const diskFolders = (data: DataFolder): readonly string[] =>
  readdirSync(data.path('services'))
    .filter((name) => name === folderOfDiskHost(0) || isDiskHostName(name))
    .map((name) => data.path('services', name));
