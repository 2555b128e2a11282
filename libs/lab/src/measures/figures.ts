import type { GroupFigures, GroupMeasures, MeasureName, Quantiles } from '../verdict.ts';
import type { Evidence } from './evidence.ts';
import { type Fate, fatesOf, type Moment } from './fate.ts';
import { longestGaps } from './gaps.ts';
import { quantilesOf } from './quantiles.ts';

/** Measures of a group, in the order of reports. */
export const measureNames: readonly MeasureName[] = [
  'lastGoodRead',
  'lastGoodWrite',
  'stopped',
  'startRefused',
  'back',
  'gap',
];

/** Measured values of each group. Every machine counts once for each loss. */
export const measuresOf = (evidence: Evidence): readonly GroupMeasures[] =>
  evidence.groups.map((group) => {
    const fates = fatesOf(evidence, group);
    const since = (moment: (fate: Fate) => Moment | undefined, from: (fate: Fate) => number): readonly number[] =>
      fates.flatMap((fate) => {
        const found = moment(fate);
        return found === undefined ? [] : [found.atMs - from(fate)];
      });
    const loss = ({ episode }: Fate): number => episode.startMs;
    return {
      group,
      role: evidence.roleOf(group),
      machines: evidence.machinesOf(group).length,
      // The last I/O of a machine that was off before the loss does not belong to the loss.
      lastGoodRead: since(({ wasBusy, lastGoodRead }) => (wasBusy ? lastGoodRead : undefined), loss),
      lastGoodWrite: since(({ wasBusy, lastGoodWrite }) => (wasBusy ? lastGoodWrite : undefined), loss),
      stopped: since(({ stopped }) => stopped, loss),
      startRefused: since(({ startRefused }) => startRefused, loss),
      back: since(
        ({ back }) => back,
        ({ episode }) => episode.endMs,
      ),
      gap: longestGaps(evidence, group).map(({ ms }) => ms),
      failedOperations: evidence.failuresDuringTimeline(group).length,
    };
  });

/** Quantiles of the measures of each group. */
export const figuresOf = (evidence: Evidence): readonly GroupFigures[] => measuresOf(evidence).map(quantilesIn);

/** Quantiles of each measure of a group. */
export const quantilesIn = (measures: GroupMeasures): GroupFigures => {
  const quantiles = Object.fromEntries(measureNames.map((name) => [name, quantilesOf(measures[name])]));
  return { ...measures, ...(quantiles as Record<MeasureName, Quantiles>) };
};
