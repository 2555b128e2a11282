import type { GroupFigures, GroupMeasures, MeasureName, Quantiles } from '../verdict.ts';
import type { Evidence } from './evidence.ts';
import { longestGaps } from './gaps.ts';
import { type MachineLoss, type Moment, machineLossesOf } from './machine-loss.ts';
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
    const machineLosses = machineLossesOf(evidence, group);
    const since = (
      moment: (machineLoss: MachineLoss) => Moment | undefined,
      from: (machineLoss: MachineLoss) => number,
    ): readonly number[] =>
      machineLosses.flatMap((machineLoss) => {
        const found = moment(machineLoss);
        return found === undefined ? [] : [found.atMs - from(machineLoss)];
      });
    const loss = ({ episode }: MachineLoss): number => episode.startMs;
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
