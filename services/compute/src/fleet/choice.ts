import { names } from '@interlock/rpc';
import type { KnownVmHost } from './vm-hosts.ts';

/**
 * The host of a start: one that is open, responds, does not leave and has room. The host where the machine ran last comes first: its guest finds its
 * journal there, and checks what it wrote. Then one of the wanted zone, if there is one, then the one on which fewest machines are, then
 * the first by name.
 * @param hosts in any order
 * @param wanted.zone the zone of the machine's disks; absent or `''`: any
 * @param wanted.last full name of the host where the machine ran last
 * @param wanted.avoid full name of a host that is not chosen: it has just failed this machine
 * @returns full name; undefined if no host takes the machine
 */
export const chooseVmHost = (
  hosts: readonly KnownVmHost[],
  { zone = '', last, avoid }: { readonly zone?: string; readonly last?: string | undefined; readonly avoid?: string },
): string | undefined => {
  let best: KnownVmHost | undefined;
  for (const host of hosts) {
    const name = vmHostName(host.name);
    if (!hasRoom(host) || name === avoid) continue;
    if (name === last) return name;
    if (best === undefined || isBetter(host, best, zone)) best = host;
  }
  return best && vmHostName(best.name);
};

/** How many more machines the hosts take. */
export const roomAt = (hosts: readonly KnownVmHost[]): number =>
  hosts.filter(hasRoom).reduce((sum, { capacity, machineCount }) => sum + capacity - machineCount, 0);

/** The full name of a VM host. */
export const vmHostName = (host: string): string => names.vmHost.format({ vmHost: host });

const hasRoom = ({ status, isServing, isLeaving, machineCount, capacity }: KnownVmHost): boolean =>
  status === 'open' && isServing && !isLeaving && machineCount < capacity;

const isBetter = (host: KnownVmHost, other: KnownVmHost, zone: string): boolean => {
  const isNear = zone !== '' && host.zone === zone;
  const isOtherNear = zone !== '' && other.zone === zone;
  if (isNear !== isOtherNear) return isNear;
  if (host.machineCount !== other.machineCount) return host.machineCount < other.machineCount;
  return host.name < other.name;
};
