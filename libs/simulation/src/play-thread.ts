import { parentPort, workerData } from 'node:worker_threads';
import { playHistory } from './history.ts';
import type { PlayOrder, PlayReport, Result } from './play-pool.ts';

const port = parentPort;
if (!port) throw new Error('this file runs as a thread of the simulation');
const { untilAction }: PlayOrder = workerData;

// Refusals are everyday here, and nobody reads their stacks: a violation is played again to be looked at.
Error.stackTraceLimit = 0;

const play = async (seed: number): Promise<Result> => {
  const { lines, ...result } = await playHistory({
    seed,
    ...(untilAction === undefined ? {} : { untilAction }),
  });
  return result.violation ? { ...result, lines: lines() } : result;
};

port.on('message', (seeds: readonly number[]) => {
  const playAll = async (): Promise<void> => {
    const results: Result[] = [];
    for (const seed of seeds) results.push(await play(seed));
    port.postMessage({ results } satisfies PlayReport);
  };
  playAll().catch((error: unknown) => {
    // Out of the promise, so that it ends the thread, which says that the simulation itself is broken.
    setImmediate(() => {
      throw error;
    });
  });
});
