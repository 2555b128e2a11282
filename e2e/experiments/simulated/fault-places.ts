import type { Replica } from '@interlock/host';
import { type FaultTarget, isDiskHostTarget, isVmHostTarget, type VmHostTarget } from '@interlock/lab';
import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Workload } from '@interlock/rpc';
import type { SimulatedHost } from '../../simulation/cloud/disk-hosts.ts';
import { type Part, partOf as partOfReplica } from '../../simulation/cloud/parts.ts';
import type { SimulatedCloud } from '../../simulation/index.ts';
import { disturbedVmHost } from '../../simulation/invariants/vm-hosts.ts';
import { numberOfHost } from '../cloud/hosts.ts';

/** A part of the simulation that a fault affects, with what is disturbed when it is. */
export interface FaultPlace {
  readonly part: Part;
  readonly disturbed: readonly Disturbed[];
}

/** A process that a fault affects. */
export interface FaultedProcess extends FaultPlace, Replica {
  readonly part: Exclude<Part, 'bus' | 'store' | 'outside'>;
  /** Its volumes; undefined for a process without. */
  readonly host: SimulatedHost | undefined;
}

/**
 * The process of a service, a disk host or a VM host. With disk hosts, the process of disk is the control process.
 * @throws Error for NATS and Postgres, and for a host that the cloud does not have
 */
export const processOf = (world: SimulatedCloud, target: FaultTarget): FaultedProcess => {
  if (target === 'nats' || target === 'postgres') throw new Error(`${target} is no process of the simulation`);
  if (isVmHostTarget(target)) return vmHostOf(world, target);
  const host = isDiskHostTarget(target)
    ? world.diskHosts[numberOfHost(target)]
    : target === 'disk' && !world.hasControl
      ? world.diskHosts[0]
      : undefined;
  if (isDiskHostTarget(target) && host === undefined) throw new Error(`the simulated cloud has no ${target}`);
  const replica = host?.replica ?? { service: target as Workload, replica: 0 };
  const disturbed: readonly Disturbed[] =
    host?.disturbed ?? (target === 'disk' ? ['disk-control'] : [target as Workload]);
  return { ...replica, part: partOfReplica(replica), disturbed, host };
};

const vmHostOf = (world: SimulatedCloud, target: VmHostTarget): FaultedProcess => {
  const host = world.vmHosts[numberOfHost(target)];
  if (host === undefined) throw new Error(`the simulated cloud has no ${target}`);
  return { ...host.replica, part: host.name, disturbed: [disturbedVmHost(host)], host: undefined };
};

/** The server or the process of a target. @throws Error as `processOf` */
export const placeOf = (world: SimulatedCloud, target: FaultTarget): FaultPlace => {
  if (target === 'nats') return { part: 'bus', disturbed: ['bus'] };
  return target === 'postgres' ? { part: 'store', disturbed: ['store'] } : processOf(world, target);
};
