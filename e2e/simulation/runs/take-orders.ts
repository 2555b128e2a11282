import { flushCompileCache } from 'node:module';
import { installLightContexts } from '../cloud/light-contexts.ts';
import type { PlayOrder, PlayReport } from './play-pool.ts';

/** Makes this a process that plays the histories that it receives, one after the other, and reports them. */
export const takeOrders = <Task, Result>(play: (seed: number, task: Task) => Promise<Result>): void => {
  // Refusals are frequent and their stacks are not read: a violation is examined in a replay.
  Error.stackTraceLimit = 0;
  installLightContexts();

  const playAll = async ({ seeds, task }: PlayOrder<Task>): Promise<void> => {
    const results: Result[] = [];
    for (const seed of seeds) {
      const result = await play(seed, task).catch((error: unknown) => {
        throw new Error(`the history of seed ${seed} could not be played`, { cause: error });
      });
      results.push(result);
    }
    process.send?.({ results } satisfies PlayReport<Result>);
  };
  process.on('message', (order) => {
    playAll(order as PlayOrder<Task>).catch((error: unknown) => {
      // Thrown outside of the promise, so that it ends the process: the simulation itself is broken.
      setImmediate(() => {
        throw error;
      });
    });
  });
  // The parent needs no more histories, or has ended.
  process.on('disconnect', () => {
    // Compiled code depends on the flags, and no other process has these flags.
    flushCompileCache();
    process.exit();
  });
};
