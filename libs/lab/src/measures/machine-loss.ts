import { accessReasonOf } from '@interlock/access';
import type { IoRecord, MachineRecord, PowerRecord } from '../record.ts';
import { shortName } from '../short-name.ts';
import type { Episode, Evidence } from './evidence.ts';

/** A moment of a machine: its time, and the operation or change that gives it. Infinity: it never occurred. */
export interface Moment {
  readonly atMs: number;
  readonly seen: string;
}

/** The moments of a machine in one loss. A missing moment was not tested. */
export interface MachineLoss {
  readonly machine: MachineRecord;
  readonly episode: Episode;
  readonly lastGoodRead?: Moment;
  readonly lastGoodWrite?: Moment;
  readonly lastGoodIo?: Moment;
  readonly stopped?: Moment;
  readonly startRefused?: Moment;
  readonly back?: Moment;
  /** The stop by the platform, and the reason that it shows. */
  readonly keyStop?: PowerRecord;
  /** Why `stopped` was not tested, if another than the platform stopped the machine first. */
  readonly stoppedOtherwise?: string;
  /** Whether it did good I/O in the 2 s before the loss; otherwise it proves nothing about the loss. */
  readonly wasBusy: boolean;
}

/** A machine proves something about a loss if it did good I/O this long before it, in milliseconds. */
export const busyMs = 2_000;

/** States in which a machine does not run, and was stopped or failed to start. */
export const isOff = ({ state }: PowerRecord): boolean =>
  state === 'stopped' || state === 'deallocated' || state === 'deleted';

/** Whether the platform stopped the machine because of a key: only such a stop names a reason. */
export const isKeyStop = ({ reason }: PowerRecord): boolean => reason !== '';

/** Text of an operation. */
export const operationText = ({ machine, disk, op, seq, reason }: IoRecord): string =>
  `${op} ${seq} of ${shortName(machine)} on ${shortName(disk)}${reason === '' ? '' : ` (${reason})`}`;

/** Why a machine proves nothing about a loss. */
export const idleText = ({ machine }: MachineLoss): string =>
  `${shortName(machine.name)} did no good I/O in the ${busyMs / 1_000} s before the loss`;

/** What all losses of a group were to each of its machines. */
export const machineLossesOf = (evidence: Evidence, group: string): readonly MachineLoss[] => {
  const episodes = evidence.episodesOf(group);
  return episodes.flatMap((episode, index) => {
    const nextMs = episodes[index + 1]?.startMs ?? Number.POSITIVE_INFINITY;
    return evidence.machinesOf(group).map((machine) => machineLossOf(evidence, machine, episode, nextMs));
  });
};

/** @param nextMs start of the next loss of the group */
export function machineLossOf(
  evidence: Evidence,
  machine: MachineRecord,
  episode: Episode,
  nextMs: number,
): MachineLoss {
  const { startMs, endMs } = episode;
  const disks = evidence.disksUnder(machine, episode);
  const io = evidence.ioOf(machine).filter(({ disk }) => disks.has(disk));
  // A flush needs no key: it succeeds after a loss too, and proves nothing.
  const good = io.filter(({ ok, op, completedMs }) => ok && op !== 'flush' && completedMs < endMs);
  const last = (fits: (one: IoRecord) => boolean): Moment | undefined => {
    const found = good.findLast(fits);
    return found && { atMs: found.completedMs, seen: operationText(found) };
  };
  const moments = {
    lastGoodRead: last(({ op }) => op === 'read'),
    lastGoodWrite: last(({ op }) => op === 'write'),
    lastGoodIo: last(() => true),
    stopped: stopMomentOf(machine, startMs, nextMs),
    startRefused: refusalOf(machine, startMs, endMs),
    back: backOf(evidence, machine, episode, nextMs),
  };
  const stop = firstStop(machine, startMs, nextMs);
  return {
    machine,
    episode,
    ...(stop !== undefined && isKeyStop(stop) && { keyStop: stop }),
    ...(stop !== undefined && !isKeyStop(stop) && { stoppedOtherwise: otherwiseText(machine, stop) }),
    wasBusy: good.some(({ completedMs }) => completedMs <= startMs && completedMs >= startMs - busyMs),
    ...Object.fromEntries(Object.entries(moments).filter(([, moment]) => moment !== undefined)),
  };
}

/** The power state at a moment. */
export const stateAt = ({ power }: MachineRecord, atMs: number): PowerRecord['state'] | undefined =>
  power.findLast((one) => one.atMs <= atMs)?.state;

/** The first stop of a machine from a loss on, by the platform or by its user. */
const firstStop = ({ power }: MachineRecord, startMs: number, nextMs: number): PowerRecord | undefined =>
  power.find((one) => isOff(one) && one.atMs >= startMs && one.atMs < nextMs);

/** When the platform stopped the machine; undefined if another stopped it first, or it was off before. */
function stopMomentOf(machine: MachineRecord, startMs: number, nextMs: number): Moment | undefined {
  // A machine that was off before the loss does not stop. One that is off in the millisecond of the loss stopped because of it.
  if (!['running', 'stopping'].includes(stateAt(machine, startMs - 1) ?? 'stopped')) return undefined;
  const stop = firstStop(machine, startMs, nextMs);
  if (stop === undefined) return { atMs: Number.POSITIVE_INFINITY, seen: `${shortName(machine.name)} never stopped` };
  if (!isKeyStop(stop)) return undefined;
  return { atMs: stop.atMs, seen: `${shortName(machine.name)} ${stop.state} (${stop.reason})` };
}

const otherwiseText = ({ name }: MachineRecord, { state }: PowerRecord): string =>
  `${shortName(name)} was ${state} by its user before the platform stopped it`;

function refusalOf(machine: MachineRecord, startMs: number, endMs: number): Moment | undefined {
  // A start that was requested before the key was given back may rightly succeed after it.
  const isOfLoss = ({ requestedMs, outcome, endedMs = endMs - 1 }: MachineRecord['starts'][number]): boolean =>
    requestedMs >= startMs && requestedMs < endMs && (outcome === 'failed' || endedMs < endMs);
  const starts = machine.starts.filter(isOfLoss);
  if (starts.length === 0) return undefined;
  // A start that fails for another cause shows nothing about the key.
  if (starts.some(({ outcome, reason }) => outcome === 'failed' && accessReasonOf(reason) === undefined))
    return undefined;
  const notRefused = starts.find(({ outcome }) => outcome !== 'failed');
  if (notRefused !== undefined)
    return {
      atMs: Number.POSITIVE_INFINITY,
      seen: `a start of ${shortName(machine.name)} was not refused (${notRefused.outcome})`,
    };
  const refused = starts.at(-1);
  return (
    refused && {
      atMs: refused.endedMs ?? refused.requestedMs,
      seen: `start of ${shortName(machine.name)} refused (${refused.reason})`,
    }
  );
}

/** A machine that stopped, in this loss or before it, is back when it runs again and completes an operation. One that never stopped does not come back. */
function backOf(
  evidence: Evidence,
  machine: MachineRecord,
  { startMs, endMs }: Episode,
  nextMs: number,
): Moment | undefined {
  if (endMs === Number.POSITIVE_INFINITY) return undefined;
  const before = machine.power.findLast(({ atMs }) => atMs < startMs);
  const wasStopped = before?.state === 'stopped' && before.reason !== '';
  const stopMs = wasStopped ? before.atMs : (stopMomentOf(machine, startMs, nextMs)?.atMs ?? Number.POSITIVE_INFINITY);
  if (stopMs === Number.POSITIVE_INFINITY) return undefined;
  const runs = machine.power.find(
    ({ state, atMs }) => state === 'running' && atMs >= Math.max(endMs, stopMs) && atMs < nextMs,
  );
  const first = runs && evidence.ioOf(machine).find(({ ok, completedMs }) => ok && completedMs >= runs.atMs);
  if (first !== undefined) return { atMs: first.completedMs, seen: operationText(first) };
  return {
    atMs: Number.POSITIVE_INFINITY,
    seen: runs ? `${shortName(machine.name)} runs again without I/O` : `${shortName(machine.name)} never ran again`,
  };
}
