import type { Experiment, Step } from '../experiment.ts';
import type { Expression, Quantity, Term } from '../expression.ts';
import { isFaultAction, isUndoable, takesAccess } from '../timeline/actions.ts';
import { endMsOf, groupsOf, lossesOf } from '../timeline/concerns.ts';
import { faultsWith } from '../timeline/faults.ts';
import { durationText } from './duration.ts';
import { groupMoments } from './moments.ts';
import { boundsAbove, holds, mirrored, type Operator } from './operators.ts';
import { printQuantity } from './print.ts';
import { lateMs, promisedMs } from './promises.ts';
import { isPartQuantity, runQuantities } from './vocabulary.ts';

/** The parts of an experiment that decide what can happen in it. */
export type Planned = Pick<Experiment, 'estate' | 'timeline' | 'settings'>;

/** Why no run can break an expectation, or none can satisfy it. */
export interface Unfit {
  readonly message: string;
  readonly cure: string;
}

/** A machine counts in a loss only if it did good I/O this long before it, in milliseconds (`busyMs`). */
const busyBeforeMs = 2_000;
/** How often a guest of an experiment works on a disk, in milliseconds: 40 operations a second. */
const paceMs = 25;

type Comparison = Extract<Expression, { kind: 'compare' }>;

const always = (text: string, why: string, cure: string): Unfit => ({
  message: `no run can break it: ${text} ${why}`,
  cure,
});
const never = (text: string, why: string, cure: string): Unfit => ({
  message: `no run can satisfy it: ${text} ${why}`,
  cure,
});

/** Why an expectation says nothing about the platform; undefined if a run can break it. The expression is valid. */
export function whyUnfit(expression: Expression, plan: Planned): Unfit | undefined {
  if (expression.kind !== 'compare') return undefined;
  const { left, operator, right } = expression;
  const [one, other] = [left.quantity, right.quantity];
  if (one !== undefined && other !== undefined) return ofTwo(one, other, plan) ?? ofTwoMoments(expression, plan);
  const quantity = one ?? other;
  if (quantity === undefined) return undefined;
  const own = one === undefined ? right : left;
  const plain = one === undefined ? left : right;
  const limit = plain.offset - own.offset;
  const towards = one === undefined ? mirrored[operator] : operator;
  if (isGroupMoment(quantity, plan)) return ofMoment({ quantity, operator: towards, offset: limit }, plan);
  return quantity.name === 'gap' ? ofGap(quantity, towards, limit, plan) : ofCount(quantity, towards, limit, plan);
}

/** Of a moment of a group and a moment of a step or part. */
function ofTwoMoments({ left, operator, right }: Comparison, plan: Planned): Unfit | undefined {
  const sides: readonly (readonly [Term, Operator, Term])[] = [
    [left, operator, right],
    [right, mirrored[operator], left],
  ];
  for (const [own, towards, other] of sides) {
    if (isInOrder(own, towards, other))
      return always(
        `${printQuantity(own.quantity as Quantity)}`,
        `never comes after ${printQuantity(other.quantity as Quantity)}, whatever the platform does`,
        'Compare it with a moment of a step, or with a duration.',
      );
    if (own.quantity === undefined || other.quantity === undefined || !isGroupMoment(own.quantity, plan)) continue;
    const atMs = plannedMs(other.quantity, plan);
    if (towards === '!=') return notEqual(own.quantity);
    if (atMs === undefined) continue;
    return ofMoment({ quantity: own.quantity, operator: towards, offset: other.offset - own.offset, atMs }, plan);
  }
  return undefined;
}

/** Moments of a group that come later than others by what they are: the last good operation is before the give-back, `back` after it. */
const laterThan: Readonly<Record<string, readonly string[]>> = {
  back: ['lastGoodRead', 'lastGoodWrite', 'lastGoodIo', 'stopped', 'startRefused'],
  lastGoodIo: ['lastGoodRead', 'lastGoodWrite'],
};

/** Whether a comparison only states that order. */
const isInOrder = (own: Term, towards: Operator, other: Term): boolean =>
  own.quantity !== undefined &&
  other.quantity !== undefined &&
  own.quantity.of === other.quantity.of &&
  (laterThan[other.quantity.name] ?? []).includes(own.quantity.name) &&
  (towards === '<' || towards === '<=') &&
  other.offset >= own.offset;

const isGroupMoment = ({ of, name }: Quantity, { timeline }: Planned): boolean =>
  Object.hasOwn(groupMoments, name) && !timeline.some((step) => step.name === of);

const notEqual = (quantity: Quantity): Unfit =>
  always(printQuantity(quantity), 'is never exactly that', 'Write <= or >=.');

function ofTwo(one: Quantity, other: Quantity, plan: Planned): Unfit | undefined {
  const text = printQuantity(one);
  if (one.of === other.of && one.name === other.name)
    return always(text, 'is compared with itself', 'Compare it with another quantity, or with a number.');
  const isOfTimeline = (quantity: Quantity): boolean =>
    plan.timeline.some(({ name }) => name === quantity.of) || isPartQuantity(quantity.name);
  if (isOfTimeline(one) && isOfTimeline(other))
    return always(
      `${text} and ${printQuantity(other)}`,
      'are both times of the timeline, and no machine decides them',
      'Name a moment of a group on one side.',
    );
  return undefined;
}

/** Numbers: none is negative, and acknowledged content may never be lost. */
function ofCount(quantity: Quantity, operator: Operator, limit: number, plan: Planned): Unfit | undefined {
  const text = printQuantity(quantity);
  const cure = `Write ${text} == 0 or ${text} > 0.`;
  if (operator === '!=' && limit !== 0) return always(text, `is hardly ever ${limit}`, cure);
  if (quantity.name === 'bytesLost' || quantity.name === 'mismatches') {
    const allows = holds(1, operator, limit);
    if (allows)
      return always(text, 'may be above 0, and acknowledged content is never lost (G5)', `Write ${text} == 0.`);
  }
  const most = quantity.of === '' ? Number.POSITIVE_INFINITY : operationsOf(quantity.of, plan);
  const range = Number.isFinite(most) ? `lies between 0 and ${most}` : 'is never negative';
  const edges = [0, 1, Math.floor(limit), Math.ceil(limit), Math.floor(limit) + 1, most].filter(
    (count) => count >= 0 && count <= most,
  );
  if (edges.every((count) => holds(count, operator, limit)))
    return always(text, `is always ${operator} ${limit}: it ${range}`, cure);
  return edges.some((count) => holds(count, operator, limit))
    ? undefined
    : never(text, `is never ${operator} ${limit}: it ${range}`, cure);
}

/** Most operations that the guests of a group do in the timeline. */
function operationsOf(group: string, plan: Planned): number {
  const planned = groupsOf(plan.estate).find(({ name }) => name === group);
  if (planned === undefined) return Number.POSITIVE_INFINITY;
  return planned.machines * planned.disks.length * Math.ceil((lengthMs(plan) + lateMs) / paceMs);
}

/** A gap is at most as long as the timeline. */
function ofGap(quantity: Quantity, operator: Operator, limit: number, plan: Planned): Unfit | undefined {
  const text = printQuantity(quantity);
  const length = lengthMs(plan);
  const cure = `Write ${text} <= with a time shorter than the timeline, which lasts ${durationText(length)}.`;
  if (operator === '!=') return notEqual(quantity);
  // Guests of existing machines may work faster.
  const shortest = plan.estate.kind === 'planned' ? paceMs : 0;
  if (!boundsAbove(operator) && limit <= shortest)
    return always(text, `is never below ${shortest} ms, the time between two operations of a guest`, cure);
  if (boundsAbove(operator) && limit >= length && operator !== '==')
    return always(text, 'is at most as long as the timeline', cure);
  if (boundsAbove(operator) ? limit < 0 : limit > length + lateMs)
    return never(text, 'is at most as long as the timeline, and never negative', cure);
  return undefined;
}

/** How long the timeline lasts at least, in milliseconds. */
const lengthMs = (plan: Planned): number =>
  Math.max(0, ...plan.timeline.flatMap((step) => [step.atMs, endMsOf(plan, step)].filter(Number.isFinite)));

interface Compared {
  readonly quantity: Quantity;
  readonly operator: Operator;
  readonly offset: number;
  /** Planned time of the other side; absent for a duration, which counts from each loss or give-back. */
  readonly atMs?: number;
}

/** A moment of a group in a loss: when it can come at the earliest, and when at the latest by the settings alone. */
function ofMoment({ quantity, operator, offset, atMs }: Compared, plan: Planned): Unfit | undefined {
  const text = printQuantity(quantity);
  if (operator === '!=') return notEqual(quantity);
  const losses = lossesOf(plan, quantity.of);
  if (losses.length === 0 || operator === '==') return undefined;
  const concerned = atMs === undefined ? losses : [losses.findLast((loss) => loss.atMs <= atMs) ?? losses[0]];
  const found = concerned.flatMap((loss): readonly (Unfit | 'fits')[] => {
    if (loss === undefined) return ['fits'];
    const fromMs = startOf(quantity.name, loss, plan);
    if (!Number.isFinite(fromMs)) return ['fits'];
    const limit = (atMs ?? fromMs) + offset;
    const earliest = quantity.name.startsWith('last') ? fromMs - busyBeforeMs : fromMs;
    const what = quantity.name === 'back' ? `the give-back of ${loss.name}` : loss.name;
    if (boundsAbove(operator)) {
      const latest = latestOf(quantity.name, loss, plan);
      if (limit < earliest - lateMs)
        return [never(text, `comes after ${what}, and the limit is before`, `Name a time after ${what}.`)];
      if (limit > latest)
        return [
          always(
            text,
            `comes ${durationText(latest - fromMs)} after ${what} at the latest, by the settings and without any event`,
            `Write a limit of at most ${durationText(latest - fromMs)} after ${what}.`,
          ),
        ];
      const endMs = episodeEndMs(loss, losses, plan);
      if (quantity.name.startsWith('last') && limit >= endMs)
        return [
          always(
            text,
            `is measured until access is given back, ${durationText(endMs - fromMs)} after ${loss.name}`,
            `Write a limit before that, or give access back later.`,
          ),
        ];
      return ['fits'];
    }
    if (limit > earliest) return ['fits'];
    return [always(text, `never comes before ${what}`, `Write <=, or a time after ${what}.`)];
  });
  const unfit = found.filter((one) => one !== 'fits');
  return unfit.length < found.length ? undefined : unfit[0];
}

/** When access is given back by the plan: overlapping losses are one. */
const episodeEndMs = (loss: Step, losses: readonly Step[], plan: Planned): number =>
  losses
    .toSorted((a, b) => a.atMs - b.atMs)
    .reduce(
      (endMs, other) =>
        other.atMs >= loss.atMs && other.atMs <= endMs ? Math.max(endMs, endMsOf(plan, other)) : endMs,
      endMsOf(plan, loss),
    );

/** When a moment can come at the earliest: the loss, or its give-back. */
const startOf = (name: string, loss: Step, plan: Planned): number =>
  name === 'back' ? endMsOf(plan, loss) : loss.atMs;

/** The latest moment that the settings allow, after every fault that delays it. */
function latestOf(name: string, loss: Step, plan: Planned): number {
  const fromMs = startOf(name, loss, plan);
  const ends = plan.timeline
    .filter(({ action }) => isFaultAction(action) || action === 'throttle')
    .map((fault) => {
      const end = isUndoable(fault.action) ? endMsOf(plan, fault) : fault.atMs;
      return Number.isFinite(end) ? end : lengthMs(plan);
    });
  const starts = plan.timeline.filter(({ action }) => action === 'start').map(({ atMs }) => atMs);
  const begins = name === 'startRefused' ? starts : [];
  // Another loss of the group can replace this one before its machines are off.
  const others = plan.timeline.filter(({ action }) => takesAccess(action)).map(({ atMs }) => atMs);
  return (
    Math.max(fromMs, ...ends, ...begins, ...(name === 'startRefused' ? others : [])) + promisedMs(name, plan.settings)
  );
}

/**
 * When a moment of a group must have come by the plan, in milliseconds after the start: the limit of `premium.stopped <= loss + 5s`.
 * @returns undefined without an upper limit that the plan decides
 */
export function plannedLimitMs(expression: Expression, plan: Planned): number | undefined {
  if (expression.kind !== 'compare' || !boundsAbove(expression.operator)) return undefined;
  const { left, right } = expression;
  if (left.quantity === undefined || !isGroupMoment(left.quantity, plan)) return undefined;
  const loss = lossesOf(plan, left.quantity.of)[0];
  const base = right.quantity === undefined ? loss?.atMs : plannedMs(right.quantity, plan);
  return base === undefined ? undefined : base + right.offset - left.offset;
}

/** When the file plans a moment of a step or a part, in milliseconds after the start; undefined for a moment of a group. */
function plannedMs({ of, name }: Quantity, plan: Planned): number | undefined {
  const step = plan.timeline.find((one) => one.name === of);
  if (step !== undefined) return step.atMs;
  if (!isPartQuantity(name) || Object.hasOwn(runQuantities, name)) return undefined;
  const { actions, end } = faultsWith(name);
  const times = plan.timeline
    .filter(({ action, targets }) => actions.includes(action) && targets.includes(of))
    .map((one) => (end && isUndoable(one.action) ? endMsOf(plan, one) : one.atMs))
    .filter(Number.isFinite);
  return times.length === 0 ? undefined : Math.max(...times);
}
