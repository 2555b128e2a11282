import { type DiskHostTarget, type HostTarget, hostNamed, isVmHostTarget, type Step } from '@interlock/lab';
import type { DiskFacts } from '@interlock/lab/judge/recording/machine-log';
import type { Clients } from '../../cloud/clients.ts';
import type { MadeMachine } from './planned-estate.ts';

/** The process of a disk host as a target, by its unique name: `disk-host-0` of `disk-0` or `diskHosts/disk-0`. */
export const targetOfHost = (host: string): DiskHostTarget =>
  `disk-host-${host.replace('diskHosts/', '').replace(/^disk-/, '')}`;

/** The full name of a host that a target names by its number: `diskHosts/disk-0`, `vmHosts/vm-host-0`. */
export const hostOfTarget = (target: string): string =>
  isVmHostTarget(target) ? `vmHosts/${target}` : `diskHosts/${target.replace('disk-host-', 'disk-')}`;

/** The number of such a target. @throws Error for another target */
export const numberOfHost = (target: HostTarget): number => {
  const named = hostNamed(target);
  if (named === undefined || !('host' in named)) throw new Error(`${target} has no number`);
  return named.host;
};

/** Where disks and guests are, as targets by number. */
export interface Whereabouts {
  /** The disk host of a disk, by its full name. */
  readonly hostOf: (disk: string) => string;
  /** The VM host of a machine, by its full name; empty if it is at none. */
  readonly vmHostOf: (machine: string) => string;
}

/** Where the disks were when the timeline started, and where the guests are now, if the step is about a VM host. */
export const whereabouts = async (
  { compute }: Pick<Clients, 'compute'>,
  { targets }: Pick<Step, 'targets'>,
  machines: readonly MadeMachine[],
  disks: ReadonlyMap<string, Pick<DiskFacts, 'diskHost'>>,
): Promise<Whereabouts> => {
  const wanted = targets.some(isVmHostTarget) ? machines : [];
  const found = await Promise.all(wanted.map(({ name }) => compute.getVirtualMachine({ name })));
  const vmHosts = new Map(found.map(({ name, vmHost }) => [name, vmHost.replace('vmHosts/', '')]));
  return {
    hostOf: (disk) => disks.get(disk)?.diskHost ?? '',
    vmHostOf: (machine) => vmHosts.get(machine) ?? '',
  };
};

/**
 * The targets of a step, with the host of a group in place of `disk-host-of-<group>` and `vm-host-of-<group>`. If the disks or machines
 * of the group are on several hosts, that with most of them counts, and then the first by number. Of the disks, those under a
 * customer's key count, if there are some.
 * @throws Error if a step cuts a host from itself, or the machines of a group are at no VM host
 */
export const withHosts = (
  { name, targets }: Pick<Step, 'name' | 'targets'>,
  machines: readonly MadeMachine[],
  { hostOf, vmHostOf }: Whereabouts,
): readonly string[] => {
  const resolved = targets.map((target) => {
    const named = hostNamed(target);
    if (named === undefined || !('group' in named)) return target;
    const own = machines.filter(({ group }) => group === named.group);
    const hosts = isVmHostTarget(target) ? own.map((machine) => vmHostOf(machine.name)) : keyedDisks(own).map(hostOf);
    return mostFrequent(
      hosts.filter((host) => host !== ''),
      named.group,
    );
  });
  if (new Set(resolved).size < resolved.length)
    throw new Error(`${name}: ${targets.join(' and ')} are both ${resolved[0]}: name one of them by its number`);
  return resolved;
};

const keyedDisks = (machines: readonly MadeMachine[]): readonly string[] => {
  const all = machines.flatMap(({ disks }) => disks);
  const own = all.filter(({ key }) => key !== 'platform');
  return (own.length > 0 ? own : all).map(({ name }) => name);
};

const mostFrequent = (hosts: readonly string[], group: string): string => {
  const counts = Map.groupBy(hosts, (host) => host);
  const [most] = [...counts].toSorted(
    ([a, n], [b, m]) => m.length - n.length || a.localeCompare(b, 'en', { numeric: true }),
  );
  if (most === undefined) throw new Error(`no machine or disk of the group ${group} is at a host`);
  return most[0];
};
