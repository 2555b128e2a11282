import { accessReasonOf, lossReasonOf } from '@interlock/access';
import type { Condition, Proof, SteadyCheck, Step } from '../experiment.ts';
import { durationText } from '../expressions/duration.ts';
import { evaluateBy } from '../expressions/evaluate.ts';
import { relativeText } from '../expressions/operators.ts';
import type { Evidence } from '../measures/evidence.ts';
import { busyMs, isKeyStop, isOff, operationText } from '../measures/machine-loss.ts';
import type { SightingRecord } from '../record.ts';
import { shortName } from '../short-name.ts';
import { isUndoable, takesAccess } from '../timeline/actions.ts';
import { lossesOf } from '../timeline/concerns.ts';
import type { RuleVerdict } from '../verdict.ts';

/** The checks before the timeline, which starts only when all of them hold. */
export const steadyRules = ({ experiment, record }: Evidence): readonly RuleVerdict[] =>
  experiment.steady.map((check) => ({
    kind: 'steady',
    text: steadyText(check),
    result: record.run.startedMs === undefined ? 'vacuous' : 'held',
    seen: record.run.startedMs === undefined ? 'the timeline did not start' : 'held when the timeline started',
  }));

/** The check as in a file. */
const steadyText = (check: SteadyCheck): string => {
  if (check.kind === 'services-ready') return 'services: ready';
  if (check.kind === 'leases-held') return 'leases: held';
  return `io: ${check.group}, gap: ${durationText(check.gapMs)}`;
};

export const expectationRules = (evidence: Evidence): readonly RuleVerdict[] =>
  evidence.experiment.expect.map((condition) => expectationRule(condition, evidence));

const expectationRule = ({ text, expression }: Condition, evidence: Evidence): RuleVerdict => {
  if (evidence.record.run.startedMs === undefined)
    return { kind: 'expectation', text, result: 'vacuous', seen: 'the timeline did not start' };
  return { kind: 'expectation', text, ...evaluateBy(expression, evidence) };
};

/** Name of a machine or disk without its resource group, which differs between targets. */
const nameInGroup = (subject: string): string =>
  subject.replace(/^subscriptions\/[^/]+\/resourceGroups\/[^/]+\/[^/]+\//, '');

/** Results of the oracle: each rule once for each subject; a failure takes precedence over later results. */
export function guaranteeRules({ record, experiment }: Evidence): readonly RuleVerdict[] {
  const byText = Map.groupBy(record.guarantees, ({ rule, subject }) => `${rule} ${nameInGroup(subject)}`.trim());
  const rules = [...byText].map(([text, found]): RuleVerdict => {
    const broken = found.find(({ holds }) => !holds);
    const seen = (broken ?? found.at(-1))?.seen ?? '';
    if (broken === undefined) return { kind: 'guarantee', text, result: 'held', seen };
    return { kind: 'guarantee', text, result: 'violated', seen, firstBreak: seen };
  });
  const needed =
    experiment.estate.kind === 'existing' ||
    experiment.estate.groups.some(({ name }) => lossesOf(experiment, name).length > 0);
  if (rules.length > 0 || !needed) return rules;
  return [{ kind: 'guarantee', text: 'rules of the oracle', result: 'vacuous', seen: 'the oracle checked no rule' }];
}

/** A control shows what would have happened without the treatment: it must have done I/O before and during it. */
export const controlRules = (evidence: Evidence): readonly RuleVerdict[] =>
  evidence.groups
    .filter((group) => evidence.roleOf(group) === 'control')
    .map((group) => {
      const text = `${group}: I/O before and during the timeline`;
      const machines = evidence.machinesOf(group);
      if (machines.length === 0) return { kind: 'control', text, result: 'vacuous', seen: `${group} has no machines` };
      const { startMs, endMs } = evidence;
      const isGoodIn = (fromMs: number, toMs: number) => (machine: (typeof machines)[number]) =>
        evidence.ioOf(machine).some(({ ok, completedMs }) => ok && completedMs >= fromMs && completedMs <= toMs);
      const silent =
        machines.find((machine) => !isGoodIn(startMs - busyMs, startMs)(machine)) ??
        machines.find((machine) => !isGoodIn(startMs, endMs)(machine));
      if (silent !== undefined)
        return {
          kind: 'control',
          text,
          result: 'vacuous',
          seen: `${shortName(silent.name)} recorded no good I/O in one of them`,
        };
      return { kind: 'control', text, result: 'held', seen: `${machines.length} of ${machines.length} machines did` };
    });

export const proofRules = (evidence: Evidence): readonly RuleVerdict[] =>
  evidence.experiment.proof.map((proof) => proofRule(proof, evidence));

function proofRule(proof: Proof, evidence: Evidence): RuleVerdict {
  const { of, see, withinMs } = proof;
  const text = `${of}: ${see} within ${durationText(withinMs)}`;
  const step = evidence.experiment.timeline.find(({ name }) => name === of);
  const fromMs = step && evidence.effectMs(step);
  if (step === undefined || fromMs === undefined)
    return { kind: 'proof', text, result: 'vacuous', seen: `${of} did not take effect` };
  const untilMs = endOfSigns(step, evidence);
  const first = seenOf(proof, step, evidence)
    .filter(({ atMs }) => atMs >= fromMs && atMs < untilMs)
    .toSorted((a, b) => a.atMs - b.atMs)[0];
  if (first === undefined) return { kind: 'proof', text, result: 'vacuous', seen: `${see} was never seen` };
  const seen = `${first.seen}, ${relativeText(first.atMs - fromMs, of)}`;
  return { kind: 'proof', text, result: first.atMs <= fromMs + withinMs ? 'held' : 'vacuous', seen };
}

/**
 * Until when signs can be those of a step: until it is over and another step is in effect that shows the same signs, a loss of the same
 * machines or a fault of the same part. Infinity: none is.
 */
function endOfSigns(step: Step, evidence: Evidence): number {
  const overMs = (one: Step): number =>
    (isUndoable(one.action) ? evidence.undoneMs(one) : evidence.stepRecord(one)?.doneMs) ?? Number.POSITIVE_INFINITY;
  const isLike = (other: Step): boolean =>
    takesAccess(step.action)
      ? takesAccess(other.action) &&
        evidence.groups.some((group) => evidence.concerns(step, group) && evidence.concerns(other, group))
      : other.action !== 'give-back' && other.targets.some((target) => step.targets.includes(target));
  const ends = evidence.experiment.timeline
    .filter((other) => other !== step && isLike(other) && overMs(other) > overMs(step))
    .flatMap((other) => evidence.effectMs(other) ?? [])
    .map((fromMs) => Math.max(fromMs, overMs(step)));
  return Math.min(...ends, Number.POSITIVE_INFINITY);
}

/** Whether a refusal for this reason can come from the step: a lost key has reasons of its own, and an outage is not one. */
const provesLoss = ({ action }: Step, reason: string): boolean =>
  action === 'throttle' ? accessReasonOf(reason) !== undefined : lossReasonOf(reason) !== undefined;

type Seen = Pick<SightingRecord, 'atMs' | 'seen'>;

function seenOf({ see }: Proof, step: Step, evidence: Evidence): readonly Seen[] {
  const machines = evidence.groups
    .filter((group) => evidence.concerns(step, group))
    .flatMap((group) => evidence.machinesOf(group));
  switch (see) {
    case 'io-refused':
      return machines.flatMap((machine) =>
        evidence
          .ioOf(machine)
          .flatMap((one) =>
            one.ok || !provesLoss(step, one.reason) ? [] : [{ atMs: one.completedMs, seen: operationText(one) }],
          ),
      );
    case 'machine-stopped':
      return machines.flatMap(({ name, power }) =>
        power.flatMap((one) =>
          isOff(one) && (isKeyStop(one) || !takesAccess(step.action))
            ? [{ atMs: one.atMs, seen: `${shortName(name)} ${one.state} (${one.reason || 'by its user'})` }]
            : [],
        ),
      );
    case 'start-refused':
      return machines.flatMap(({ name, starts }) =>
        starts.flatMap(({ outcome, endedMs, requestedMs, reason }) =>
          outcome === 'failed' && provesLoss(step, reason)
            ? [{ atMs: endedMs ?? requestedMs, seen: `start of ${shortName(name)} refused (${reason})` }]
            : [],
        ),
      );
    default: {
      const { keyVersions = [], hosts = [] } = evidence.stepRecord(step) ?? {};
      const subjects = [...step.targets, ...keyVersions, ...hosts];
      return evidence.record.sightings.filter((one) => one.see === see && subjects.includes(one.subject));
    }
  }
}
