import { lossReasons } from '@interlock/access';
import { findCause } from '../causes/causes.ts';
import type { Step } from '../experiment.ts';
import { relativeText, spanText } from '../expressions/operators.ts';
import type { Episode, Evidence } from '../measures/evidence.ts';
import { type Moment, operationText } from '../measures/machine-loss.ts';
import { shortName } from '../short-name.ts';
import { takesAccess } from '../timeline/actions.ts';
import { endMsOf, groupsOf, isUndone, keyOfTarget } from '../timeline/concerns.ts';

/** How late an injection may be, in milliseconds: a later one tests another order of events than that of the file. */
export const lateMsMax = 500;

/**
 * Why the run itself cannot be trusted. The engine reports most reasons; here they are derived from the record too, in case a report
 * was lost.
 * @returns each reason once
 */
export function problemsOfRun(evidence: Evidence): readonly string[] {
  const { run } = evidence.record;
  const started = run.startedMs !== undefined;
  return [
    ...new Set([
      ...run.problems,
      ...(started || run.problems.length > 0 ? [] : ['the timeline did not start']),
      ...(started && run.endedMs === undefined ? ['the run did not end'] : []),
      ...(started ? [...injections(evidence), ...failures(evidence), ...undos(evidence), ...machines(evidence)] : []),
      ...(started ? [...treatedControls(evidence), ...wrongT0(evidence)] : []),
    ]),
  ];
}

/** Steps that were not carried out, had no effect, or were not on time. */
const injections = (evidence: Evidence): readonly string[] =>
  evidence.experiment.timeline.flatMap((step) => {
    const record = evidence.stepRecord(step);
    if (record === undefined)
      return evidence.record.run.abortedBy === undefined ? [`"${step.name}" was not injected`] : [];
    if (record.doneMs === undefined) return [`"${step.name}" was not completed`];
    const problems: string[] = [];
    if (takesAccess(step.action) && record.effectMs === undefined && record.error === undefined)
      problems.push(`"${step.name}" took no key away: its effect was not observed`);
    const lateMs = record.invokedMs - (evidence.startMs + step.atMs);
    if (step.action !== 'give-back' && Math.abs(lateMs) > lateMsMax)
      problems.push(
        `"${step.name}" was injected ${spanText(Math.abs(lateMs))} ${lateMs < 0 ? 'early' : 'late'}; ${lateMsMax} ms are allowed`,
      );
    return [...problems, ...lateEffect(step, record.effectMs, evidence)];
  });

/** A loss that took effect after its planned give-back, because its call was slow: the plan was not tested. */
const lateEffect = (step: Step, effectMs: number | undefined, evidence: Evidence): readonly string[] => {
  const { experiment, startMs } = evidence;
  if (effectMs === undefined || !takesAccess(step.action) || isByDate(step.action)) return [];
  const lateMs = effectMs - (startMs + step.atMs);
  if (lateMs <= lateMsMax || effectMs < startMs + endMsOf(experiment, step)) return [];
  return [
    `"${step.name}" took the key ${spanText(lateMs)} late, when it was to be given back: its own call waited. A fault that slows the vault, such as throttle, slows that call too`,
  ];
};

/** Every failure of a step or an undo, also one that a later success followed. */
const failures = ({ record }: Evidence): readonly string[] =>
  record.steps.flatMap(({ name, error }) => (error === undefined ? [] : [`"${name}" failed: ${error}`]));

/** Steps that should have been undone, and were not. */
const undos = (evidence: Evidence): readonly string[] =>
  evidence.experiment.timeline.flatMap((step) => {
    if (evidence.stepRecord(step) === undefined || !isUndone(evidence.experiment, step)) return [];
    return evidence.undoRecord(step) === undefined ? [`"${step.name}" was not undone`] : [];
  });

/** Machines of the file that the record does not have. */
const machines = (evidence: Evidence): readonly string[] =>
  groupsOf(evidence.experiment.estate).flatMap(({ name, machines: planned }) => {
    const found = evidence.machinesOf(name).length;
    return found === planned ? [] : [`the record has ${found} of ${planned} machines of ${name}`];
  });

/** Control machines whose disks were under a key that was taken. */
const treatedControls = (evidence: Evidence): readonly string[] => {
  const losses = evidence.experiment.timeline.filter((step) => takesAccess(step.action));
  return evidence.groups
    .filter((group) => evidence.roleOf(group) === 'control')
    .flatMap((group) => evidence.machinesOf(group))
    .flatMap(({ name, disks }) => {
      const loss = losses.find((step) => disks.some((disk) => isUnder(disk, step, evidence)));
      return loss === undefined
        ? []
        : [`the control ${shortName(name)} has a disk under the key that "${loss.name}" took`];
    });
};

const isUnder = (
  disk: { readonly key: string; readonly keyVersion: string },
  step: Step,
  evidence: Evidence,
): boolean => {
  const taken = evidence.stepRecord(step)?.keyVersions ?? [];
  const keys = step.targets.map((target) => keyOfTarget(evidence.experiment.estate, target));
  return taken.includes(disk.keyVersion) || keys.includes(disk.key);
};

/** Actions whose effect a date decides: it may come after the call. */
const isByDate = (action: string): boolean => findCause(action)?.isByDate === true;

/** How far the clocks of two processes may differ, in milliseconds: on one machine they are one clock, in a cluster they are not. */
const clocksMs = ({ record: { run } }: Evidence): number => (run.target === 'kubernetes' ? lateMsMax : 50);

/** A t0 outside of its own call, or after the first sign of the loss: a late t0 makes all measured times too short. */
function wrongT0(evidence: Evidence): readonly string[] {
  const outside = evidence.experiment.timeline.flatMap((step) => {
    const record = evidence.stepRecord(step);
    if (record?.effectMs === undefined || !takesAccess(step.action)) return [];
    const { effectMs, invokedMs, doneMs = effectMs } = record;
    if (invokedMs - effectMs > (isByDate(step.action) ? lateMsMax : clocksMs(evidence)))
      return [`t0 of "${step.name}" is ${spanText(invokedMs - effectMs)} before its injection`];
    if (effectMs - doneMs > clocksMs(evidence) && !isByDate(step.action))
      return [`t0 of "${step.name}" is ${spanText(effectMs - doneMs)} after its call had ended`];
    return [];
  });
  const late = evidence.groups.flatMap((group) => {
    const [first] = evidence.episodesOf(group);
    const sign = first && firstSignBefore(first, group, evidence);
    if (first === undefined || sign === undefined) return [];
    return [`t0 of "${first.losses[0]?.name}" is wrong: ${sign.seen} ${relativeText(sign.atMs - first.startMs, 't0')}`];
  });
  return [...outside, ...late];
}

/** The first sign of a loss before its t0: a stop, a refused operation, or a refused use of the key. Outages are no loss. */
function firstSignBefore(first: Episode, group: string, evidence: Evidence): Moment | undefined {
  const taken = first.losses.flatMap((loss) => evidence.stepRecord(loss)?.keyVersions ?? []);
  const uses = evidence.record.sightings
    .filter(({ see, subject, seen }) => see === 'unwrap-refused' && taken.includes(subject) && namesLoss(seen))
    .map(({ atMs, seen }) => ({ atMs, seen: `a use of the key was refused (${seen})` }));
  const signs = evidence.machinesOf(group).flatMap((machine): readonly Moment[] => {
    const disks = evidence.disksUnder(machine, first);
    const stops = machine.power.filter(({ state, reason }) => namesLoss(reason) && state.startsWith('stop'));
    const refused = evidence.ioOf(machine).filter(({ disk, reason }) => disks.has(disk) && namesLoss(reason));
    return [
      ...stops.map(({ atMs, state, reason }) => ({
        atMs,
        seen: `${shortName(machine.name)} was ${state} (${reason})`,
      })),
      ...refused.map((one) => ({ atMs: one.completedMs, seen: `${operationText(one)} was refused` })),
    ];
  });
  return [...uses, ...signs]
    .filter(({ atMs }) => atMs >= evidence.startMs && atMs < first.startMs)
    .toSorted((a, b) => a.atMs - b.atMs)[0];
}

/** Whether a text contains a reason that ends access. */
const namesLoss = (text: string): boolean => lossReasons.some((reason) => text.includes(reason));
