import { fnv1a32 } from '@interlock/messaging';
import { bytesPerGib } from '../host/storage/sector.ts';
import type { KnownHost } from './fleet.ts';

/** Most disks and snapshots of a host that still gets new ones: a restart opens and checks them all. */
export const volumesPerHostMax = 20_000;

/** What a host keeps free: a tenth of its file system, or a tenth of the new disk if that is more. */
const keptFree = 0.1;

/**
 * Names of hosts in the order in which a key prefers them (rendezvous hashing): each key has its own order, it is the same in every
 * process, and a host that comes or leaves changes only what it is first for. One pass over the hosts for each name that is
 * taken, because the first one nearly always accepts.
 */
export function* rendezvous(hosts: readonly string[], key: string): Generator<string, undefined> {
  const ofKey = fnv1a32(key);
  const left = hosts.map((host) => ({ host, weight: mixed(fnv1a32(host) ^ ofKey) }));
  for (;;) {
    let best = left[0];
    if (best === undefined) return;
    for (const one of left) if (isPreferred(one, best)) best = one;
    yield best.host;
    left.splice(left.indexOf(best), 1);
  }
}

interface Weighed {
  readonly host: string;
  readonly weight: number;
}

/** By name if the weights are equal: once in some billion pairs. */
const isPreferred = (one: Weighed, other: Weighed): boolean =>
  one.weight > other.weight || (one.weight === other.weight && one.host > other.host);

/** A hash of a hash: the names of hosts differ only in their last characters. The end of MurmurHash3 for 32 bits. */
const mixed = (hash: number): number => {
  const once = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35);
  return (twice ^ (twice >>> 16)) >>> 0;
};

/** What is placed. */
export interface Placed {
  /** What should be together: the set, or the resource group without one. */
  readonly key: string;
  /** Size of the disk, in GiB. */
  readonly sizeGib: number;
}

/**
 * Hosts that take a new disk which is no copy. The disks of a set are on the first of them in its order until that is full: it then
 * renews one lease, and a machine needs all of its disks anyway.
 */
export const eligibleHosts = (hosts: readonly KnownHost[], { sizeGib }: Pick<Placed, 'sizeGib'>): readonly string[] =>
  hosts.filter((host) => isEligible(host, sizeGib * bytesPerGib)).map(({ name }) => name);

/** Disks are sparse: a tenth of the size is what a new one is expected to take. */
const isEligible = ({ status, isServing, lease, volumeCount }: KnownHost, sizeBytes: number): boolean => {
  if (status !== 'open' || !isServing || volumeCount >= volumesPerHostMax) return false;
  const freeBytes = lease?.freeBytes;
  return freeBytes === undefined || freeBytes >= keptFree * Math.max(lease?.capacityBytes ?? 0, sizeBytes);
};
