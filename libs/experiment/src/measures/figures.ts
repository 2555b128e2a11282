import type { GroupFigures } from '../verdict.ts';
import type { Evidence } from './evidence.ts';
import { type Fate, fatesOf, type Moment } from './fate.ts';
import { longestGaps } from './gaps.ts';
import { quantilesOf } from './quantiles.ts';

/** What was measured of each group. Every machine counts once for each loss. */
export const figuresOf = (evidence: Evidence): readonly GroupFigures[] =>
  evidence.groups.map((group) => {
    const fates = fatesOf(evidence, group);
    const since = (moment: (fate: Fate) => Moment | undefined, from: (fate: Fate) => number) =>
      quantilesOf(
        fates.flatMap((fate) => {
          const found = moment(fate);
          return found === undefined ? [] : [found.atMs - from(fate)];
        }),
      );
    const loss = ({ episode }: Fate): number => episode.startMs;
    return {
      group,
      role: evidence.roleOf(group),
      machines: evidence.machinesOf(group).length,
      lastGoodRead: since(({ lastGoodRead }) => lastGoodRead, loss),
      lastGoodWrite: since(({ lastGoodWrite }) => lastGoodWrite, loss),
      stopped: since(({ stopped }) => stopped, loss),
      startRefused: since(({ startRefused }) => startRefused, loss),
      back: since(
        ({ back }) => back,
        ({ episode }) => episode.endMs,
      ),
      gap: quantilesOf(longestGaps(evidence, group).map(({ ms }) => ms)),
      failedOperations: evidence.ioDuringTimeline(group).filter(({ ok }) => !ok).length,
    };
  });
