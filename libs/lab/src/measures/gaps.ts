import type { MachineRecord } from '../record.ts';
import type { Evidence } from './evidence.ts';

/** The longest time of a disk without a good operation. */
export interface Gap {
  readonly machine: string;
  readonly disk: string;
  readonly fromMs: number;
  readonly ms: number;
}

/**
 * The longest time between two good operations of each disk of a machine that did any I/O, within the timeline: its start and end
 * count as operations, so a disk whose I/O stops early has a gap up to the end. Disks that the timeline attaches do not count.
 */
export function gapsOf(evidence: Evidence, machine: MachineRecord): readonly Gap[] {
  const { startMs, endMs } = evidence;
  const own = new Set(machine.disks.map(({ name }) => name));
  const byDisk = Map.groupBy(
    evidence.ioOf(machine).filter(({ disk }) => own.has(disk)),
    ({ disk }) => disk,
  );
  return [...byDisk].map(([disk, io]) => {
    let longest: Gap = { machine: machine.name, disk, fromMs: startMs, ms: 0 };
    let previousMs = startMs;
    const end = (atMs: number): void => {
      if (atMs - previousMs > longest.ms) longest = { ...longest, fromMs: previousMs, ms: atMs - previousMs };
      previousMs = atMs;
    };
    for (const { ok, completedMs } of io) if (ok && completedMs > startMs && completedMs < endMs) end(completedMs);
    end(endMs);
    return longest;
  });
}

/** The longest gap of each machine of a group that did any I/O. */
export const longestGaps = (evidence: Evidence, group: string): readonly Gap[] =>
  evidence.machinesOf(group).flatMap((machine) => {
    const [first, ...rest] = gapsOf(evidence, machine);
    return first === undefined ? [] : [rest.reduce((one, other) => (other.ms > one.ms ? other : one), first)];
  });
