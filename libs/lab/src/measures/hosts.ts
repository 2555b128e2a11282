import { hostNamed, isVmHostTarget } from '../experiment.ts';
import type { MachineRecord, RunRecord } from '../record.ts';
import { shortName } from '../short-name.ts';
import { type HostMoment, hostMoments } from '../timeline/hosts.ts';
import type { Evidence } from './evidence.ts';

/** A moment and what it was; Infinity if it never came. */
type Found = { readonly atMs: number; readonly seen: string } | { readonly vacuous: string };

/** The states of hosts after their events, of disk and of compute. Events that are absent do not change them. */
const stateAfter: Readonly<Record<string, string>> = {
  Registered: 'OPEN',
  Opened: 'OPEN',
  Cordoned: 'CORDONED',
  Draining: 'DRAINING',
  Drained: 'DRAINED',
  Lost: 'LOST',
};

/** The event as the stores of disk and compute have it. */
interface StoredEvent {
  readonly service: string;
  readonly stream: string;
  readonly type: string;
  readonly time: number;
  readonly data: Readonly<Record<string, unknown>>;
}

const eventsOf = ({ raw }: RunRecord): readonly StoredEvent[] =>
  (raw?.events ?? []) as unknown as readonly StoredEvent[];

/**
 * When the record of a host said so for the first time in the timeline, by the stored events.
 * @param target `vm-host-0`, or `vm-host-of-premium` for the host that a step found
 */
export function hostStateMs(target: string, name: HostMoment, evidence: Evidence): Found {
  const { record, startMs } = evidence;
  if (record.raw === undefined) return { vacuous: 'no events were kept' };
  const host = numbered(target, record);
  if (host === undefined) return { vacuous: `no step found the host ${target}` };
  const stream = isVmHostTarget(host) ? `vmhost-${host}` : `diskhost-${host.replace('disk-host-', 'disk-')}`;
  const found = eventsOf(record).find(
    (event) =>
      event.stream === stream &&
      event.time >= startMs &&
      stateAfter[event.type.replace(/^(Vm|Disk)Host/, '')] === hostMoments[name],
  );
  if (found === undefined) return { atMs: Number.POSITIVE_INFINITY, seen: `${host} was never ${hostMoments[name]}` };
  return { atMs: found.time, seen: `${host} was ${hostMoments[name]}` };
}

const numbered = (target: string, { steps }: RunRecord): string | undefined => {
  if ('host' in (hostNamed(target) ?? {})) return target;
  const isSameKind = (host: string): boolean => isVmHostTarget(host) === isVmHostTarget(target);
  return steps.find((step) => step.targets.includes(target))?.hosts?.find(isSameKind);
};

/** When the last machine of a group moved or was fenced, or its last disk moved, in the timeline. @param name a host quantity */
export function hostQuantityOf(group: string, name: string, evidence: Evidence): Found {
  const machines = evidence.machinesOf(group);
  if (machines.length === 0) return { vacuous: `${group} has no machines` };
  const found = machines.flatMap((machine): readonly Found[] => {
    if (name === 'disksMoved') return diskMoves(machine, evidence);
    return [name === 'moved' ? movedOf(machine, evidence) : fencedOf(machine, evidence)];
  });
  const missing = found.find((one) => 'vacuous' in one);
  if (missing !== undefined) return missing;
  return found.reduce((one, other) => ('atMs' in one && 'atMs' in other && other.atMs > one.atMs ? other : one));
}

/** When it ran at another VM host than when the timeline started. */
function movedOf({ name, placements = [], power }: MachineRecord, { startMs, endMs }: Evidence): Found {
  const first = placements.findLast(({ atMs }) => atMs <= startMs);
  if (first === undefined) return { vacuous: `${shortName(name)} was at no VM host when the timeline started` };
  const next = placements.find(({ atMs, vmHost }) => atMs > startMs && vmHost !== first.vmHost);
  const runs = next && power.find(({ atMs, state }) => state === 'running' && atMs >= next.atMs && atMs <= endMs);
  if (next === undefined || runs === undefined)
    return {
      atMs: Number.POSITIVE_INFINITY,
      seen: `${shortName(name)} never ran at another VM host than ${first.vmHost}`,
    };
  return { atMs: runs.atMs, seen: `${shortName(name)} ran at ${next.vmHost}, before at ${first.vmHost}` };
}

/** When it was off because its disks were closed, and not because its host said so. */
function fencedOf({ name, placements = [], power }: MachineRecord, { startMs, endMs }: Evidence): Found {
  if (placements.length === 0) return { vacuous: `${shortName(name)} was at no VM host` };
  const fenced = power.find(({ atMs, isFenced }) => isFenced === true && atMs >= startMs && atMs <= endMs);
  return fenced === undefined
    ? { atMs: Number.POSITIVE_INFINITY, seen: `${shortName(name)} was never fenced` }
    : { atMs: fenced.atMs, seen: `${shortName(name)} was off by its closed disks` };
}

/** When each disk was at another disk host than when the timeline started, by the stored events. */
function diskMoves({ disks }: MachineRecord, { record, startMs }: Evidence): readonly Found[] {
  if (record.raw === undefined) return [{ vacuous: 'no events were kept' }];
  const events = eventsOf(record);
  return disks.map(({ name, diskHost = '' }) => {
    const moved = events.find(
      ({ type, stream, time, data }) =>
        type === 'VolumeMoved' &&
        stream === `disk-${name}` &&
        time >= startMs &&
        data.host !== diskHost.replace('disk-host-', 'disk-'),
    );
    return moved === undefined
      ? { atMs: Number.POSITIVE_INFINITY, seen: `${shortName(name)} stayed at ${diskHost}` }
      : { atMs: moved.time, seen: `${shortName(name)} was at ${moved.data.host}` };
  });
}
