import type { Quantity } from '../expression.ts';
import type { Episode, Evidence } from '../measures/evidence.ts';
import { longestGaps } from '../measures/gaps.ts';
import { hostQuantityOf, hostStateMs } from '../measures/hosts.ts';
import { busyMs, idleText, machineLossesOf, operationText, stateAt } from '../measures/machine-loss.ts';
import { shortName } from '../short-name.ts';
import { isUndoable } from '../timeline/actions.ts';
import { faultsWith } from '../timeline/faults.ts';
import { isHostMoment } from '../timeline/hosts.ts';
import { type Evaluation, relativeText, spanText, vacuous } from './operators.ts';
import { isHostQuantity, isPartQuantity, type PartQuantity } from './vocabulary.ts';

/** A number, a duration in milliseconds, or a moment; or why it was not measured. */
export type Measured =
  | {
      readonly value: number;
      /** Text with the unit. */
      readonly plain: string;
      /** The operation that brought the value above a limit. */
      readonly culprit?: (limit: number) => string | undefined;
    }
  | { readonly vacuous: string };

/** Reason of a read that returned other content than was acknowledged, in guests' journals. */
export const MISMATCH = 'CONTENT_MISMATCH';

/** Measures a quantity that is neither a moment of a group nor a state. */
export function measure(quantity: Quantity, evidence: Evidence): Measured {
  const { of, name } = quantity;
  if (of === '') return contentValue(name, evidence);
  const step = evidence.experiment.timeline.find((one) => one.name === of);
  if (step !== undefined) {
    const record = evidence.stepRecord(step);
    const atMs = name === 'injected' ? record?.invokedMs : evidence.effectMs(step);
    return atMs === undefined ? { vacuous: `the step ${of} did not take effect` } : moment(atMs, evidence);
  }
  if (isHostMoment(name)) return momentOrNever(hostStateMs(of, name, evidence), evidence);
  if (isHostQuantity(name)) return momentOrNever(hostQuantityOf(of, name, evidence), evidence);
  if (isPartQuantity(name)) return partMoment(of, name, evidence);
  return groupValue(of, name, evidence);
}

const moment = (atMs: number, { startMs }: Evidence): Measured => ({
  value: atMs,
  plain: relativeText(atMs - startMs, 'the start'),
});

/** A moment that may not have come: then it is later than every limit. */
const momentOrNever = (
  found: { readonly atMs: number; readonly seen: string } | { readonly vacuous: string },
  { startMs }: Evidence,
): Measured => {
  if ('vacuous' in found) return found;
  const { atMs, seen } = found;
  const plain = atMs === Number.POSITIVE_INFINITY ? seen : `${seen}, ${relativeText(atMs - startMs, 'the start')}`;
  return { value: atMs, plain, culprit: () => seen };
};

function contentValue(name: string, { record: { content } }: Evidence): Measured {
  if (name === 'bytesCompared') return { value: content.bytesCompared, plain: `${content.bytesCompared}` };
  if (content.bytesCompared === 0) return { vacuous: 'no content was compared' };
  const { bytesLost, bytesCompared, disksCompared } = content;
  return {
    value: bytesLost,
    plain: `${bytesLost} of ${bytesCompared} bytes on ${disksCompared} disks`,
    culprit: () => `${bytesLost} acknowledged bytes were not found`,
  };
}

/** The latest moment of its kind of a part. */
function partMoment(part: string, name: PartQuantity, evidence: Evidence): Measured {
  const { actions, end } = faultsWith(name);
  const times = evidence.experiment.timeline
    .filter(({ action, targets }) => actions.includes(action) && targets.includes(part))
    .flatMap((step) => {
      const ended = isUndoable(step.action) ? evidence.undoneMs(step) : evidence.stepRecord(step)?.doneMs;
      return (end ? ended : evidence.effectMs(step)) ?? [];
    });
  return times.length === 0 ? { vacuous: `${part}.${name} was not recorded` } : moment(Math.max(...times), evidence);
}

function groupValue(group: string, name: string, evidence: Evidence): Measured {
  // A disk without I/O in the timeline has a gap; nothing is known of what it would have done otherwise.
  const silent = silentMachine(group, evidence, name === 'gap' ? undefined : evidence.startMs);
  if (silent !== undefined) return { vacuous: silent };
  if (name === 'gap') {
    const longest = longestGaps(evidence, group).reduce((one, other) => (other.ms > one.ms ? other : one));
    const from = relativeText(longest.fromMs - evidence.startMs, 'the start');
    return {
      value: longest.ms,
      plain: spanText(longest.ms),
      culprit: () =>
        `${shortName(longest.disk)} of ${shortName(longest.machine)} had no good operation for ${spanText(longest.ms)}, from ${from}`,
    };
  }
  const counted = evidence
    .failuresDuringTimeline(group)
    .filter(({ reason }) => name !== 'mismatches' || reason === MISMATCH);
  return {
    value: counted.length,
    plain: `${counted.length}`,
    culprit: (limit) => {
      const beyond = counted[Math.max(0, Math.floor(limit))];
      return beyond && `${operationText(beyond)}, ${relativeText(beyond.completedMs - evidence.startMs, 'the start')}`;
    },
  };
}

/** Why the I/O of a group proves nothing: a machine that recorded none from a moment to the end of the timeline. */
function silentMachine(group: string, evidence: Evidence, fromMs = evidence.startMs - busyMs): string | undefined {
  const machines = evidence.machinesOf(group);
  if (machines.length === 0) return `${group} has no machines`;
  const silent = machines.find((machine) => {
    const last = evidence.ioOf(machine).findLast(({ completedMs }) => completedMs <= evidence.endMs);
    return last === undefined || last.completedMs < fromMs;
  });
  return silent && `${shortName(silent.name)} recorded no I/O`;
}

/** Why the losses of a group prove nothing: a machine without good I/O just before one. */
function idleMachine(group: string, evidence: Evidence): string | undefined {
  const idle = machineLossesOf(evidence, group).find(({ wasBusy }) => !wasBusy);
  return idle && idleText(idle);
}

/** `running`: every machine ran during the whole timeline. `isStopped`: every machine is off at its end. */
export function stateOf({ of: group, name }: Quantity, evidence: Evidence): Evaluation {
  const untested = silentMachine(group, evidence) ?? idleMachine(group, evidence);
  if (untested !== undefined) return vacuous(untested);
  const machines = evidence.machinesOf(group);
  if (name !== 'running') return stoppedOf(group, machines, evidence);
  const running = runningOf(machines, evidence);
  const unnoticed = running.result === 'held' ? unnoticedLoss(group, evidence) : undefined;
  return unnoticed === undefined ? running : vacuous(unnoticed);
}

/** Why machines that kept running prove nothing about their losses: each was over before any use of the key was refused. */
function unnoticedLoss(group: string, evidence: Evidence): string | undefined {
  const losses = evidence
    .episodesOf(group)
    .filter(({ losses: steps }) => steps.some(({ action }) => action !== 'throttle'));
  const isNoticed = ({ startMs, endMs, losses: steps }: Episode): boolean => {
    const taken = steps.flatMap((step) => evidence.stepRecord(step)?.keyVersions ?? []);
    return evidence.record.sightings.some(
      ({ see, subject, atMs }) =>
        see === 'unwrap-refused' && taken.includes(subject) && atMs >= startMs && atMs <= endMs,
    );
  };
  if (losses.length === 0 || losses.some(isNoticed)) return undefined;
  const longest = Math.max(...losses.map(({ startMs, endMs }) => endMs - startMs));
  const span = Number.isFinite(longest) ? ` for ${spanText(longest)}` : '';
  return `the key of ${group} was lost${span}, and no use of it was refused in that time`;
}

type Machines = ReturnType<Evidence['machinesOf']>;

function runningOf(machines: Machines, { startMs, endMs }: Evidence): Evaluation {
  // A change in the millisecond of the start belongs to the timeline: a step at 0 s may stop a machine within it.
  const off = machines.find((machine) => stateAt(machine, startMs - 1) !== 'running');
  if (off !== undefined) return vacuous(`${shortName(off.name)} did not run when the timeline started`);
  const broken = machines
    .flatMap(({ name, power }) =>
      power
        .filter(({ atMs, state }) => atMs >= startMs && atMs <= endMs && state !== 'running')
        .slice(0, 1)
        .map((change) => ({ name, ...change })),
    )
    .toSorted((a, b) => a.atMs - b.atMs)[0];
  if (broken === undefined)
    return { result: 'held', seen: `${machines.length} of ${machines.length} machines ran without interruption` };
  const firstBreak = `${shortName(broken.name)} ${broken.state} (${broken.reason || 'by its user'}) ${relativeText(broken.atMs - startMs, 'the start')}`;
  return { result: 'violated', seen: firstBreak, firstBreak };
}

function stoppedOf(group: string, machines: Machines, evidence: Evidence): Evaluation {
  const { endMs } = evidence;
  const on = machines.filter(
    (machine) => !['stopped', 'deallocated', 'start-failed', 'deleted'].includes(stateAt(machine, endMs) ?? ''),
  );
  const seen = `${machines.length - on.length} of ${machines.length} machines are stopped at the end`;
  const [first] = on;
  const byUser = machines.find(({ power }) => power.findLast((one) => one.atMs <= endMs)?.reason === '');
  if (first === undefined && byUser !== undefined && evidence.episodesOf(group).length > 0)
    return vacuous(`${shortName(byUser.name)} is off because its user stopped it, not because of its key`);
  if (first === undefined) return { result: 'held', seen };
  return {
    result: 'violated',
    seen,
    firstBreak: `${shortName(first.name)} is ${stateAt(first, endMs) ?? 'in an unknown state'} at the end`,
  };
}
