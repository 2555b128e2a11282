import { existsSync, readdirSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type DataFolder, LauncherError } from './data-folder.ts';

const mib = 2 ** 20;

/** A server needs space in pieces of up to 16 MiB (a segment of Postgres's log): with less, the file system counts as full. */
const fullBytes = 16 * mib;

/** A new database server with the databases of five services, without its log: 67 MiB measured. */
const newServerBytes = 80 * mib;

/** Space that one part of a cloud may take in addition to what it has already. */
export interface SpaceNeed {
  /** What takes the space, and the setting that changes it. */
  readonly what: string;
  readonly folder: string;
  readonly bytes: number;
}

/** Limits of what a cloud keeps, in bytes. */
export interface SpaceLimits {
  /** Postgres's own log; absent if Postgres is given. */
  readonly wal?: { readonly home: string; readonly bytesMax: number } | undefined;
  /** Streams of an own NATS server; absent if NATS is given. */
  readonly streams?: { readonly count: number; readonly bytesMax: number } | undefined;
  readonly logs: { readonly count: number; readonly bytesMax: number };
  readonly spansBytesMax: number;
}

/** What the parts of a cloud may still take in their folders, up to their limits. */
export const spaceNeeds = (
  data: DataFolder,
  { wal, streams, logs, spansBytesMax }: SpaceLimits,
): readonly SpaceNeed[] => {
  const needs: SpaceNeed[] = [];
  const add = (what: string, folder: string, limit: number, used: number): void => {
    needs.push({ what, folder, bytes: Math.max(0, limit - used) });
  };
  const spans = ['spans.jsonl', 'spans.1.jsonl'].reduce((sum, name) => sum + usedBytes(data.path(name)), 0);
  add('spans', data.root, spansBytesMax, spans);
  if (wal !== undefined) {
    const server = join(wal.home, 'data');
    if (!existsSync(server)) add('Postgres', wal.home, newServerBytes, 0);
    add('the log of Postgres', wal.home, wal.bytesMax, usedBytes(join(server, 'pg_wal')));
  }
  if (streams !== undefined) {
    const limit = streams.count * streams.bytesMax;
    add(
      'the streams of NATS (NATS_STREAM_BYTES_MAX)',
      data.path('nats'),
      limit,
      usedBytes(data.path('nats', 'jetstream')),
    );
  }
  add('logs', data.path('logs'), logs.count * logs.bytesMax, usedBytes(data.path('logs')));
  return needs;
};

/**
 * Checks before a start that every file system has the space that the parts in it may take.
 * @param space reads free bytes and the device of an existing folder
 * @throws LauncherError that names the folder, the space it needs and has, and each part
 */
export const requireSpace = (needs: readonly SpaceNeed[], space: (folder: string) => FreeSpace = freeSpace): void => {
  const byDevice = new Map<
    number,
    { readonly folder: string; readonly freeBytes: number; readonly needs: SpaceNeed[] }
  >();
  for (const need of needs) {
    const folder = existing(need.folder);
    const { device, freeBytes } = space(folder);
    const found = byDevice.get(device) ?? { folder, freeBytes, needs: [] };
    found.needs.push(need);
    byDevice.set(device, found);
  }
  for (const { folder, freeBytes, needs: own } of byDevice.values()) {
    const bytes = own.reduce((sum, need) => sum + need.bytes, 0);
    if (freeBytes >= bytes) continue;
    const parts = own.filter((need) => need.bytes > 0).map((need) => `${toMib(need.bytes)} for ${need.what}`);
    throw new LauncherError(
      `The cloud needs ${toMib(bytes)} free in ${folder}, which has ${toMib(freeBytes)}: ${parts.join(', ')}. Free some space, or set INTERLOCK_DATA to a folder with more.`,
    );
  }
};

/** Free space of the file system of a folder. */
export interface FreeSpace {
  readonly device: number;
  readonly freeBytes: number;
}

/** The space that this user may still take in the file system of an existing folder. */
export const freeSpace = (folder: string): FreeSpace => {
  const { bavail, bsize } = statfsSync(folder);
  return { device: statSync(folder).dev, freeBytes: bavail * bsize };
};

/** Says that no space is left in the file system of a folder; undefined if there is some, or the folder is missing. */
export const fullness = (folder: string): string | undefined => {
  if (!existsSync(folder)) return undefined;
  const { freeBytes } = freeSpace(folder);
  return freeBytes < fullBytes ? `no space left in ${folder} (${toMib(freeBytes)} free)` : undefined;
};

/** The folders without those whose file system holds an earlier one. */
export const onePerDevice = (folders: readonly string[]): readonly string[] => {
  const devices = new Set<number>();
  return folders.filter((folder) => {
    if (!existsSync(folder)) return false;
    const { device } = freeSpace(folder);
    const isNew = !devices.has(device);
    devices.add(device);
    return isNew;
  });
};

/** The folder, or the first of those around it that exists. */
const existing = (folder: string): string => (existsSync(folder) ? folder : existing(dirname(folder)));

/** Space that a file or folder takes; files that end meanwhile count as nothing. */
const usedBytes = (path: string): number => {
  const blocksOf = (file: string): number => (statSync(file, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return blocksOf(path);
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).reduce(
    (sum, name) => sum + blocksOf(join(path, name)),
    0,
  );
};

const toMib = (bytes: number): string => `${Math.floor(bytes / mib).toLocaleString('en-US')} MiB`;
