import { type PlayedHistory, playHistory } from './history.ts';
import { takeOrders } from './take-orders.ts';

/** What histories of the simulation share. */
export interface PlayTask {
  readonly untilAction: number | undefined;
  /** Undefined: as the seed says. */
  readonly diskHosts: number | undefined;
  /** Undefined: as the seed says. */
  readonly vmHosts: number | undefined;
}

/** A history as a process reports it, with its log only if a guarantee was violated. */
export type Result = Omit<PlayedHistory, 'lines'> & { readonly lines?: readonly string[] };

takeOrders(async (seed, task: PlayTask): Promise<Result> => {
  const { lines, ...result } = await playHistory({ seed, ...task });
  return result.violation ? { ...result, lines: lines() } : result;
});
