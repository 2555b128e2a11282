import { createHash } from 'node:crypto';
import { bytesPerGib } from '../host/storage/sector.ts';
import type { KnownHost } from './fleet.ts';

/** Most disks and snapshots of a host that still gets new ones: a restart opens and checks them all. */
export const volumesPerHostMax = 20_000;

/** What a host keeps free: a tenth of its file system, or a tenth of the new disk if that is more. */
const keptFree = 0.1;

/**
 * Names of hosts in the order in which a key prefers them (rendezvous hashing): each key has its own order, it is the same in every
 * process, and a host that comes or leaves changes only what it is first for.
 */
export const rendezvous = (hosts: readonly string[], key: string): readonly string[] =>
  hosts
    .map((host) => ({ host, weight: createHash('sha256').update(`${key}\n${host}`).digest('hex') }))
    .toSorted((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ host }) => host);

/** What is placed. */
export interface Placed {
  /** What should be together: the set, or the resource group without one. */
  readonly key: string;
  /** Size of the disk, in GiB. */
  readonly sizeGib: number;
}

/**
 * Hosts for a new disk that is no copy, the best first. The disks of a set are on one host until that is full: it then renews one
 * lease, and a machine needs all of its disks anyway.
 */
export const choiceOf = (hosts: readonly KnownHost[], { key, sizeGib }: Placed): readonly string[] => {
  const eligible = hosts.filter((host) => isEligible(host, sizeGib * bytesPerGib));
  return rendezvous(
    eligible.map(({ name }) => name),
    key,
  );
};

/** Disks are sparse: a tenth of the size is what a new one is expected to take. */
const isEligible = ({ status, isServing, lease, volumeCount }: KnownHost, sizeBytes: number): boolean => {
  if (status !== 'open' || !isServing || volumeCount >= volumesPerHostMax) return false;
  const { freeBytes, capacityBytes = 0 } = lease ?? {};
  return freeBytes === undefined || freeBytes >= keptFree * Math.max(capacityBytes, sizeBytes);
};
