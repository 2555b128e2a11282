import { type Replica, workloads } from '@interlock/host';
import type { Workload } from '@interlock/rpc';

/** A disk host that is a process of its own. `disk` is then the control process. */
export type DiskHostPart = `disk-host-${number}`;

/** A VM host: a process of compute that runs its guests. */
export type VmHostPart = `vm-host-${number}`;

/** The parts that can be cut off from one another: services, disk hosts, VM hosts, the bus, the stores, and callers outside. */
export type Part = Workload | DiskHostPart | VmHostPart | 'bus' | 'store' | 'outside';

/** The parts of a cloud without disk hosts and VM hosts of their own. */
export const parts: readonly Part[] = [...workloads, 'bus', 'store', 'outside'];

/** The replicas of disk after the first are disk hosts: `disk-<n>` is replica n + 1. */
export const replicaOfHost = (host: number): Replica => ({ service: 'disk', replica: host + 1 });

/** The replicas of compute from this one on are VM hosts. */
const firstVmHost = 10;

/** `vm-host-<n>` is replica n + 10 of compute. */
export const replicaOfVmHost = (host: number): Replica => ({ service: 'compute', replica: firstVmHost + host });

/** Whether a replica is a VM host, which serves another API than its service. */
export const isVmHost = ({ service, replica }: Replica): boolean => service === 'compute' && replica >= firstVmHost;

/** Whether a part is a VM host. */
export const isVmHostPart = (part: Part): boolean => part.startsWith('vm-host-');

export const vmHostPart = (host: number): VmHostPart => `vm-host-${host}`;

const hostPart = (host: number): DiskHostPart => `disk-host-${host}`;

/** The part that a process belongs to. */
export const partOf = (self: Replica): Workload | DiskHostPart | VmHostPart => {
  const { service, replica } = self;
  if (isVmHost(self)) return vmHostPart(replica - firstVmHost);
  return service === 'disk' && replica > 0 ? hostPart(replica - 1) : service;
};

/** `disk`, `disk-host-0`, `vm-host-0`, or `compute#1` for a further replica of another service. */
export const nameOf = (self: Replica): string => {
  const { service, replica } = self;
  return replica === 0 || service === 'disk' || isVmHost(self) ? partOf(self) : `${service}#${replica}`;
};

/** The processes of a part. @param running the replicas of a service that run */
export const replicasOf = (part: Part, running: (service: Workload) => readonly number[]): readonly Replica[] => {
  if (part === 'bus' || part === 'store' || part === 'outside') return [];
  const [, diskHost] = part.split('disk-host-');
  if (diskHost !== undefined) return [replicaOfHost(Number(diskHost))];
  const [, vmHost] = part.split('vm-host-');
  if (vmHost !== undefined) return [replicaOfVmHost(Number(vmHost))];
  const service = part as Workload;
  const replicas = service === 'disk' ? [0] : [0, ...running(service)];
  return replicas.map((replica) => ({ service, replica })).filter((self) => !isVmHost(self));
};

/** The pairs of parts that do not reach each other. */
export interface Cuts {
  cut(a: Part, b: Part): void;
  heal(a: Part, b: Part): void;
  isCut(a: Part, b: Part): boolean;
  /** Each as `a|b`, in the order they were cut. */
  all(): readonly (readonly [Part, Part])[];
}

export const createCuts = (): Cuts => {
  const cuts = new Map<string, readonly [Part, Part]>();
  const nameOfPair = (a: Part, b: Part): string => (a < b ? `${a}|${b}` : `${b}|${a}`);
  return {
    cut: (a, b) => {
      cuts.set(nameOfPair(a, b), [a, b]);
    },
    heal: (a, b) => {
      cuts.delete(nameOfPair(a, b));
    },
    isCut: (a, b) => cuts.size > 0 && cuts.has(nameOfPair(a, b)),
    all: () => [...cuts.values()],
  };
};
