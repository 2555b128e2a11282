import type { Step } from '../experiment.ts';
import { relativeText, spanText } from '../expressions/operators.ts';
import type { Evidence } from '../measures/evidence.ts';
import { shortName } from '../measures/fate.ts';
import { takesAccess } from '../timeline/actions.ts';
import { groupsOf, isUndone, keyOfTarget } from '../timeline/concerns.ts';

/** How late an injection may be, in milliseconds: later ones test another order of events than the file states. */
export const lateMsMax = 500;

/**
 * Why the run itself cannot be trusted, whatever its expectations say. The engine reports most of it; here it follows from the record too,
 * so that a report that was lost is found.
 * @returns each reason once
 */
export function problemsOfRun(evidence: Evidence): readonly string[] {
  const { run } = evidence.record;
  const started = run.startedMs !== undefined;
  return [
    ...new Set([
      ...run.problems,
      ...(started ? [] : ['the timeline did not start']),
      ...(started && run.endedMs === undefined ? ['the run did not end'] : []),
      ...(started ? [...injections(evidence), ...failures(evidence), ...undos(evidence), ...machines(evidence)] : []),
      ...(started ? [...treatedControls(evidence), ...lateT0(evidence)] : []),
    ]),
  ];
}

/** Steps that were not carried out, had no effect, or came at another time than planned. */
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
    return problems;
  });

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

/** A t0 before its own injection, or after the first machine that the loss stopped. */
function lateT0(evidence: Evidence): readonly string[] {
  const early = evidence.experiment.timeline.flatMap((step) => {
    const record = evidence.stepRecord(step);
    if (record?.effectMs === undefined || !takesAccess(step.action)) return [];
    const aheadMs = record.invokedMs - record.effectMs;
    return aheadMs > lateMsMax ? [`t0 of "${step.name}" is ${spanText(aheadMs)} before its injection`] : [];
  });
  const late = evidence.groups.flatMap((group) => {
    const [first] = evidence.episodesOf(group);
    if (first === undefined) return [];
    return evidence.machinesOf(group).flatMap(({ name, power }) => {
      const stop = power.find(
        ({ atMs, state, reason }) =>
          atMs >= evidence.startMs &&
          atMs < first.startMs &&
          reason !== '' &&
          (state === 'stopping' || state === 'stopped'),
      );
      if (stop === undefined) return [];
      const when = relativeText(stop.atMs - first.startMs, 't0');
      return [
        `t0 of "${first.losses[0]?.name}" is wrong: ${shortName(name)} was ${stop.state} (${stop.reason}) ${when}`,
      ];
    });
  });
  return [...early, ...late];
}
