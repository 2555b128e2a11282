import { type DiskHostTarget, diskHostNamed, type Step } from '@interlock/lab';
import type { MadeMachine } from './planned-estate.ts';

/** The process of a disk host as a target, by its unique name: `disk-host-0` of `disk-0` or `diskHosts/disk-0`. */
export const targetOfHost = (host: string): DiskHostTarget =>
  `disk-host-${host.replace('diskHosts/', '').replace(/^disk-/, '')}`;

/** The number of such a target. @throws Error for another target */
export const numberOfHost = (target: DiskHostTarget): number => {
  const named = diskHostNamed(target);
  if (named === undefined || !('host' in named)) throw new Error(`${target} has no number`);
  return named.host;
};

/**
 * The targets of a step, with the disk host that has the disks of a group in place of `disk-host-of-<group>`: of its disks under a
 * customer's key, if it has some. If they are on several hosts, that with most of them counts, and then the first by number.
 * @param hostOf the host of a disk as a target, by the full name of the disk
 * @throws Error if a step cuts a disk host from itself
 */
export const withHosts = (
  { name, targets }: Pick<Step, 'name' | 'targets'>,
  machines: readonly MadeMachine[],
  hostOf: (disk: string) => string,
): readonly string[] => {
  const resolved = targets.map((target) => {
    const named = diskHostNamed(target);
    return named !== undefined && 'group' in named ? hostOfGroup(named.group, machines, hostOf) : target;
  });
  if (new Set(resolved).size < resolved.length)
    throw new Error(`${name}: ${targets.join(' and ')} are both ${resolved[0]}: name one of them by its number`);
  return resolved;
};

const hostOfGroup = (group: string, machines: readonly MadeMachine[], hostOf: (disk: string) => string): string => {
  const all = machines.filter((machine) => machine.group === group).flatMap(({ disks }) => disks);
  const own = all.filter(({ key }) => key !== 'platform');
  const counts = new Map<string, number>();
  for (const { name } of own.length > 0 ? own : all) counts.set(hostOf(name), (counts.get(hostOf(name)) ?? 0) + 1);
  const [most] = [...counts].toSorted(([a, n], [b, m]) => m - n || a.localeCompare(b, 'en', { numeric: true }));
  if (most === undefined) throw new Error(`no machine is in the group ${group}`);
  return most[0];
};
