import { isHostTarget, type Step } from '../experiment.ts';
import type { Quantity } from '../expression.ts';
import { durationText } from '../expressions/duration.ts';
import { relativeText } from '../expressions/operators.ts';
import { settingMs } from '../file/setting-names.ts';
import type { Evidence } from '../measures/evidence.ts';
import { type MachineLoss, machineLossesOf } from '../measures/machine-loss.ts';
import {
  isFaultAction,
  isHostAction,
  isKeyAction,
  isMachineAction,
  isUndoable,
  takesAccess,
} from '../timeline/actions.ts';
import type { RuleVerdict } from '../verdict.ts';

/** Longest wait of a service before it tries a part again that was disturbed, in milliseconds. */
const afterMs = 5_000;
/** How long the effects of an action on machines or keys may take, in milliseconds. */
const actionMs = 30_000;

/** Parts that the I/O of every machine uses, besides its hosts; those that only disks under a customer's key need; and the rest. */
const ofEveryDisk = ['disk', 'compute', 'postgres'];
const ofKeys = ['key-vault', 'identity', 'disk-encryption-set'];
/** A lease is renewed at the latest when this share of it is over: a shorter fault of a vault may disturb no renewal. */
const renewalShare = 0.5;
/** Quantities that cover the whole timeline. */
const wholeTimeline = ['running', 'gap', 'failed', 'mismatches'];

/** A time in which something happened that a fault could disturb. */
interface Chance {
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Faults that could disturb nothing: they ended before everything that they could disturb, or began after it. A run with such a
 * fault does not test what its file says, so each is a rule that was never put to the test.
 */
export const chanceRules = (evidence: Evidence): readonly RuleVerdict[] =>
  evidence.record.run.startedMs === undefined || evidence.experiment.expect.length === 0
    ? []
    : evidence.experiment.timeline
        .filter(({ action }) => isFaultAction(action) || action === 'throttle')
        .flatMap((step) => missed(step, evidence));

function missed(step: Step, evidence: Evidence): readonly RuleVerdict[] {
  const fromMs = evidence.effectMs(step);
  // A fault without an effect is another problem of the run.
  if (fromMs === undefined) return [];
  const ended = isUndoable(step.action) ? evidence.undoneMs(step) : evidence.stepRecord(step)?.doneMs;
  const toMs = (ended ?? Number.POSITIVE_INFINITY) + afterMs;
  const leaseMs = settingMs('leaseTtl', evidence.experiment.settings);
  const isLong = (ended ?? Number.POSITIVE_INFINITY) - fromMs >= leaseMs * renewalShare;
  if (disturbsWorkload(step, { fromMs, isLong }, evidence)) return [];
  const chances = [...lossChances(evidence), ...actionChances(evidence)];
  if (chances.some((chance) => chance.fromMs <= toMs && chance.toMs >= fromMs)) return [];
  const began = relativeText(fromMs - evidence.startMs, 'the start');
  const [first] = chances.toSorted((a, b) => a.fromMs - b.fromMs);
  const seen =
    first === undefined
      ? `nothing in the timeline needs ${step.targets.join(' and ')}${isLong ? '' : ` in that time, and leases last ${durationText(leaseMs)}`}`
      : `it began ${began}, ${toMs < first.fromMs ? 'and ended before anything' : 'when everything was over'} that it could disturb`;
  return [{ kind: 'proof', text: `${step.name} could disturb something`, result: 'vacuous', seen }];
}

/**
 * From each loss to the last moment of its machines. Machines that keep running can be disturbed until the give-back. A throttle takes
 * no key: it is a fault itself.
 */
const lossChances = (evidence: Evidence): readonly Chance[] =>
  evidence.groups.flatMap((group) =>
    machineLossesOf(evidence, group)
      .filter(({ episode }) => episode.losses.some(({ action }) => action !== 'throttle'))
      .map((machineLoss) => ({ fromMs: machineLoss.episode.startMs, toMs: lastMomentOf(machineLoss) })),
  );

const lastMomentOf = ({ episode, keyStop, back, startRefused, lastGoodIo }: MachineLoss): number => {
  if (keyStop === undefined) return episode.endMs;
  const moments = [back, startRefused, lastGoodIo].flatMap((moment) => moment?.atMs ?? []);
  return Math.max(keyStop.atMs, ...moments.filter(Number.isFinite));
};

/** Actions on machines and hosts, and keys that are replaced. */
const actionChances = (evidence: Evidence): readonly Chance[] =>
  evidence.experiment.timeline
    .filter(
      ({ action }) => isMachineAction(action) || isHostAction(action) || (isKeyAction(action) && !takesAccess(action)),
    )
    .flatMap((step) => {
      const record = evidence.stepRecord(step);
      return record === undefined ? [] : [{ fromMs: record.invokedMs, toMs: record.invokedMs + actionMs }];
    });

/**
 * Whether an expectation covers I/O of the whole timeline that needs the disturbed part. A group that a lost key stopped before the
 * fault began had no I/O for it to disturb.
 */
function disturbsWorkload(
  step: Step,
  { fromMs, isLong }: { readonly fromMs: number; readonly isLong: boolean },
  evidence: Evidence,
): boolean {
  const touches = (parts: readonly string[]): boolean =>
    step.targets.some((target) => parts.includes(target) || (parts === ofEveryDisk && isHostTarget(target)));
  const disturbsKeyOf = (group: string): boolean =>
    isLong &&
    (step.action === 'throttle' ? evidence.concerns(step, group) : touches(ofKeys) && isUnderKey(group, evidence));
  const quantities = evidence.experiment.expect.flatMap(({ expression }): readonly Quantity[] =>
    expression.kind === 'compare'
      ? [expression.left, expression.right].flatMap(({ quantity }) => quantity ?? [])
      : [expression.quantity],
  );
  if (touches(ofEveryDisk) && quantities.some(({ name }) => name === 'bytesLost')) return true;
  return quantities
    .filter(({ of, name }) => wholeTimeline.includes(name) && evidence.groups.includes(of))
    .filter(
      ({ of }) => !machineLossesOf(evidence, of).some(({ keyStop }) => keyStop !== undefined && keyStop.atMs <= fromMs),
    )
    .some(({ of }) => touches(ofEveryDisk) || disturbsKeyOf(of));
}

const isUnderKey = (group: string, evidence: Evidence): boolean =>
  evidence.machinesOf(group).some(({ disks }) => disks.some(({ key }) => key !== 'platform'));
