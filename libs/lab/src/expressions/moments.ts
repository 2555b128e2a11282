import type { Step } from '../experiment.ts';
import type { Term } from '../expression.ts';
import type { Episode, Evidence } from '../measures/evidence.ts';
import {
  busyMs,
  idleText,
  type MachineLoss,
  type Moment,
  machineLossOf,
  operationText,
} from '../measures/machine-loss.ts';
import { shortName } from '../short-name.ts';
import { takesAccess } from '../timeline/actions.ts';
import { boundsAbove, type Evaluation, holds, type Operator, relativeText, spanText, vacuous } from './operators.ts';
import { printQuantity } from './print.ts';
import { lateMs } from './promises.ts';
import { measure } from './values.ts';

/** Moments of groups, and the operations that they come from. */
export const groupMoments = {
  lastGoodRead: ['read'],
  lastGoodWrite: ['write'],
  lastGoodIo: ['read', 'write'],
  stopped: [],
  startRefused: [],
  back: [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** One side of a comparison: a moment of a group plus an offset in milliseconds. */
export interface MomentSide {
  readonly group: string;
  readonly name: keyof typeof groupMoments;
  readonly offset: number;
}

/** The other side of the comparison in one loss. */
interface Bound {
  readonly episode: Episode;
  /** The named moment, and its description. */
  readonly baseMs: number;
  readonly base: string;
  readonly boundMs: number;
  /** Whether the named moment is a loss: a moment before it is no effect of it. */
  readonly isLoss?: boolean;
}

/**
 * Compares a moment of a group: with a pure duration in every loss of the group, otherwise in the loss that was in progress at the
 * other moment. It is vacuous unless every machine was tested.
 */
export function compareMoments(side: MomentSide, operator: Operator, other: Term, evidence: Evidence): Evaluation {
  if (evidence.machinesOf(side.group).length === 0) return vacuous(`${side.group} has no machines`);
  const bounds = boundsOf(side, other, evidence);
  if ('vacuous' in bounds) return vacuous(bounds.vacuous);
  const all = bounds.map((bound) => compareIn(bound, side, operator, evidence));
  const tested = all.filter(({ result }) => result !== 'vacuous');
  // A timeline need not try to start machines in every loss.
  const results = side.name === 'startRefused' && tested.length > 0 ? tested : all;
  return (
    results.find(({ result }) => result === 'violated') ??
    results.find(({ result }) => result === 'vacuous') ??
    results.at(-1) ??
    vacuous(`no loss concerned ${side.group}`)
  );
}

function boundsOf(
  side: MomentSide,
  { quantity, offset }: Term,
  evidence: Evidence,
): readonly Bound[] | { readonly vacuous: string } {
  const episodes = evidence.episodesOf(side.group);
  if (quantity === undefined)
    return episodes.filter(isTested(side, evidence)).map((episode) => {
      const baseMs = side.name === 'back' ? episode.endMs : episode.startMs;
      return {
        episode,
        baseMs,
        base: side.name === 'back' ? 'access was given back' : 'the loss',
        boundMs: baseMs + offset,
      };
    });
  const isGroup = evidence.groups.includes(quantity.of) && Object.hasOwn(groupMoments, quantity.name);
  const measured = isGroup
    ? latestOfRun(quantity.of, quantity.name as MomentSide['name'], evidence)
    : measure(quantity, evidence);
  if ('vacuous' in measured) return measured;
  const baseMs = measured.value;
  const whole: Episode = { startMs: evidence.startMs, endMs: evidence.endMs, losses: [] };
  const episode = episodes.findLast(({ startMs }) => startMs <= baseMs) ?? episodes[0] ?? whole;
  const step = evidence.experiment.timeline.find(({ name }) => name === quantity.of);
  const isLoss = step !== undefined && takesAccess(step.action);
  return [
    {
      ...{ episode: ofLoss(episode, isLoss ? step : undefined, side.group, evidence) },
      ...{ baseMs, base: printQuantity(quantity), boundMs: baseMs + offset, isLoss },
    },
  ];
}

/** The losses of an episode that take the same keys as a loss: of overlapping losses of several keys, each counts by itself. */
function ofLoss(episode: Episode, loss: Step | undefined, group: string, evidence: Evidence): Episode {
  if (loss === undefined || !episode.losses.includes(loss)) return episode;
  const disks = (steps: readonly Step[]): string =>
    evidence
      .machinesOf(group)
      .flatMap((machine) => [...evidence.disksUnder(machine, { ...episode, losses: steps })])
      .join();
  const losses = episode.losses.filter((other) => disks([other]) === disks([loss]));
  if (losses.length === episode.losses.length) return episode;
  const startMs = Math.min(...losses.map((one) => evidence.effectMs(one) ?? episode.startMs));
  return { ...episode, losses, startMs };
}

/** Machines that no user started before their key was taken again are back after that loss. */
const isTested =
  ({ group, name }: MomentSide, evidence: Evidence) =>
  (episode: Episode): boolean => {
    const nextMs = nextAfter(episode, group, evidence);
    if (name !== 'back' || nextMs === Number.POSITIVE_INFINITY) return true;
    const isAfter = ({ requestedMs }: { readonly requestedMs: number }): boolean =>
      requestedMs >= episode.endMs && requestedMs < nextMs;
    return evidence.machinesOf(group).some(({ starts }) => starts.some(isAfter));
  };

/** The latest moment of a group in its last loss. */
function latestOfRun(
  group: string,
  name: MomentSide['name'],
  evidence: Evidence,
): { readonly value: number } | { readonly vacuous: string } {
  const whole: Episode = { startMs: evidence.startMs, endMs: evidence.endMs, losses: [] };
  const latest = latestIn(evidence.episodesOf(group).at(-1) ?? whole, { group, name, offset: 0 }, evidence);
  return 'vacuous' in latest ? latest : { value: latest.atMs };
}

const nextAfter = ({ startMs }: Episode, group: string, evidence: Evidence): number =>
  evidence.episodesOf(group).find((other) => other.startMs > startMs)?.startMs ?? Number.POSITIVE_INFINITY;

function compareIn(bound: Bound, side: MomentSide, operator: Operator, evidence: Evidence): Evaluation {
  const latest = latestIn(bound.episode, side, evidence);
  if ('vacuous' in latest) return vacuous(latest.vacuous);
  const never = latest.atMs === Number.POSITIVE_INFINITY;
  if (never && !boundsAbove(operator)) return vacuous(latest.seen);
  const isLast = side.name.startsWith('last');
  // A machine that was busy until its key was lost did its last good I/O just before or after that.
  if (bound.isLoss === true && latest.atMs < bound.baseMs - (isLast ? busyMs : 0))
    return vacuous(
      `${latest.seen}, ${relativeText(latest.atMs - bound.baseMs, bound.base)}: it shows nothing about it`,
    );
  const beyondMs = bound.boundMs - side.offset - bound.episode.endMs;
  if (isLast && boundsAbove(operator) && beyondMs >= lateMs)
    return vacuous(`${latest.seen}, and access was given back ${spanText(beyondMs)} before the limit`);
  const seen = never ? latest.seen : `${relativeText(latest.atMs - bound.baseMs, bound.base)}: ${latest.seen}`;
  if (holds(latest.atMs + side.offset, operator, bound.boundMs)) return { result: 'held', seen };
  return { result: 'violated', seen, firstBreak: firstBreakOf(bound, side, operator, latest, evidence) };
}

/** The latest moment of the machines of a group in one loss. */
function latestIn(episode: Episode, side: MomentSide, evidence: Evidence): Moment | { readonly vacuous: string } {
  const nextMs = nextAfter(episode, side.group, evidence);
  const machineLosses = evidence
    .machinesOf(side.group)
    .map((machine) => machineLossOf(evidence, machine, episode, nextMs));
  const idle = machineLosses.find(({ wasBusy }) => !wasBusy);
  if (idle !== undefined && side.name !== 'startRefused' && episode.losses.length > 0)
    return { vacuous: idleText(idle) };
  const missing = machineLosses.find((machineLoss) => machineLoss[side.name] === undefined);
  const moments = machineLosses.flatMap((machineLoss) => machineLoss[side.name] ?? []);
  // Machines that never stopped do not come back; all other moments must exist for every machine.
  if (moments.length === 0 || (missing !== undefined && side.name !== 'back'))
    return { vacuous: whyMissing(missing, side) };
  return moments.reduce((one, other) => (other.atMs > one.atMs ? other : one));
}

const whyMissing = (machineLoss: MachineLoss | undefined, { group, name }: MomentSide): string => {
  const machine = machineLoss === undefined ? group : shortName(machineLoss.machine.name);
  if (name === 'stopped') return machineLoss?.stoppedOtherwise ?? `${machine} did not run when the key was taken`;
  if (name === 'startRefused') return `no start of ${machine} was requested during the loss`;
  if (name === 'back') return `no machine of ${group} stopped and was given its key back`;
  return `${machine} recorded no such operation`;
};

/** The first good operation after the bound; otherwise the latest moment itself. */
function firstBreakOf(
  { episode, base, baseMs, boundMs }: Bound,
  side: MomentSide,
  operator: Operator,
  latest: Moment,
  evidence: Evidence,
): string {
  const ops: readonly string[] = groupMoments[side.name];
  const limitMs = boundMs - side.offset;
  const broken = evidence
    .machinesOf(side.group)
    .flatMap((machine) => {
      const disks = evidence.disksUnder(machine, episode);
      const isBeyond = ({ completedMs }: { readonly completedMs: number }): boolean =>
        completedMs < episode.endMs && !holds(completedMs, operator, limitMs);
      return (
        evidence
          .ioOf(machine)
          .find(
            (one) =>
              one.ok && ops.includes(one.op) && disks.has(one.disk) && completedAfter(one, episode) && isBeyond(one),
          ) ?? []
      );
    })
    .toSorted((a, b) => a.completedMs - b.completedMs)[0];
  if (boundsAbove(operator) && broken !== undefined)
    return `${operationText(broken)} succeeded ${relativeText(broken.completedMs - baseMs, base)}`;
  if (latest.atMs === Number.POSITIVE_INFINITY) return latest.seen;
  return `${latest.seen}, ${relativeText(latest.atMs - baseMs, base)}`;
}

const completedAfter = ({ completedMs }: { readonly completedMs: number }, { startMs }: Episode): boolean =>
  completedMs >= startMs;
