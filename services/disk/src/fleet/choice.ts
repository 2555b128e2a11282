import { bytesPerGib } from '../host/storage/sector.ts';
import { hashOf, type KnownHost } from './known-host.ts';

/** Most disks and snapshots of a host that still gets new ones: a restart opens and checks them all. */
export const volumesPerHostMax = 20_000;

/** What a host keeps free: a tenth of its file system, or a tenth of the new disk if that is more. */
const keptFree = 0.1;

/** Most hosts of an order: as many are called one after the other if those before do not respond, or take nothing new. */
export const orderMax = 16;

/** Hosts on which the new disks of a set with `spread` are placed. */
const spreadOver = 2;

/**
 * Names of hosts in the order in which a key prefers them (rendezvous hashing), at most `orderMax`: each key has its own order, it is
 * the same in every process, and a host that comes or leaves changes only what it is first for. One pass over the hosts; the few
 * that are preferred so far are kept in order, because a host seldom is one of them.
 */
export const preferred = (
  hosts: readonly KnownHost[],
  key: string,
  accepts: (host: KnownHost) => boolean,
): readonly string[] => {
  const ofKey = hashOf(key);
  const best: Weighed[] = [];
  let least = -1;
  for (const host of hosts) {
    const weight = mixed(host.nameHash ^ ofKey);
    if (weight < least || !accepts(host)) continue;
    let place = best.length;
    while (place > 0 && isPreferred(host.name, weight, best[place - 1])) place -= 1;
    if (place === orderMax) continue;
    best.splice(place, 0, { host: host.name, weight });
    if (best.length > orderMax) best.pop();
    least = best.length === orderMax ? (best.at(-1)?.weight ?? -1) : -1;
  }
  return best.map(({ host }) => host);
};

interface Weighed {
  readonly host: string;
  readonly weight: number;
}

/** By name if the weights are equal: once in some billion pairs. */
const isPreferred = (host: string, weight: number, other: Weighed | undefined): boolean =>
  other === undefined || weight > other.weight || (weight === other.weight && host > other.host);

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
  /** The host of the disk that it is to be near, if there is one. */
  readonly nearHost?: string | undefined;
  /** If the set spreads over two hosts: what stays together, the name of the OS disk of its machine or its own name. */
  readonly spreadBy?: string | undefined;
}

/**
 * The hosts for a new disk which is no copy, the best first: that of the disk it is to be near, then the order of its set. So the
 * disks of a set are on the first host of its order until that is full: it then renews one lease, and a machine needs all of its
 * disks anyway. The disks of a set that spreads are on the first two, each machine on one of them.
 */
export const choice = (hosts: readonly KnownHost[], placed: Placed): readonly string[] => {
  const { key, sizeGib, nearHost, spreadBy } = placed;
  const sizeBytes = sizeGib * bytesPerGib;
  const inOrder = preferred(hosts, key, (host) => isEligible(host, sizeBytes));
  const ofSet = spreadBy === undefined ? inOrder : swapped(inOrder, mixed(hashOf(key) ^ hashOf(spreadBy)) % spreadOver);
  const near = nearHost === undefined ? undefined : hosts.find(({ name }) => name === nearHost);
  if (near === undefined || !isEligible(near, sizeBytes)) return ofSet;
  return [near.name, ...ofSet.filter((host) => host !== near.name)];
};

/** The order with the host of this place first. */
const swapped = (inOrder: readonly string[], place: number): readonly string[] => {
  const first = inOrder[place];
  return first === undefined ? inOrder : [first, ...inOrder.toSpliced(place, 1)];
};

/** Disks are sparse: a tenth of the size is what a new one is expected to take. */
const isEligible = ({ status, isServing, lease, volumeCount }: KnownHost, sizeBytes: number): boolean => {
  if (status !== 'open' || !isServing || volumeCount >= volumesPerHostMax) return false;
  const freeBytes = lease?.freeBytes;
  return freeBytes === undefined || freeBytes >= keptFree * Math.max(lease?.capacityBytes ?? 0, sizeBytes);
};
