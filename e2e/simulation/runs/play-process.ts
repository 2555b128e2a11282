import { flushCompileCache } from 'node:module';
import { installLightContexts } from '../cloud/light-contexts.ts';
import { playHistory } from './history.ts';
import type { PlayOrder, PlayReport, Result } from './play-pool.ts';

// Refusals are frequent and their stacks are not read: a violation is replayed to look at it.
Error.stackTraceLimit = 0;
installLightContexts();

const play = async (seed: number, untilAction: number | undefined): Promise<Result> => {
  const { lines, ...result } = await playHistory({ seed, ...(untilAction === undefined ? {} : { untilAction }) });
  return result.violation ? { ...result, lines: lines() } : result;
};

process.on('message', ({ seeds, untilAction }: PlayOrder) => {
  const playAll = async (): Promise<void> => {
    const results: Result[] = [];
    for (const seed of seeds) {
      const result = await play(seed, untilAction).catch((error: unknown) => {
        throw new Error(`the history of seed ${seed} could not be played`, { cause: error });
      });
      results.push(result);
    }
    process.send?.({ results } satisfies PlayReport);
  };
  playAll().catch((error: unknown) => {
    // Out of the promise, so that it ends the process, which says that the simulation itself is broken.
    setImmediate(() => {
      throw error;
    });
  });
});
// The parent needs no more histories, or is gone.
process.on('disconnect', () => {
  // Compiled code belongs to the flags it was compiled with, and no other process has these flags.
  flushCompileCache();
  process.exit();
});
