import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { PlayedHistory } from './history.ts';

/** What a thread is told when it begins. */
export interface PlayOrder {
  readonly untilAction: number | undefined;
}

/** A history as a thread reports it: its log only where a promise did not hold. */
export type Result = Omit<PlayedHistory, 'lines'> & { readonly lines?: readonly string[] };

export interface PlayReport {
  readonly results: readonly Result[];
}

export interface PoolOptions {
  readonly workers: number;
  readonly untilAction: number | undefined;
  /** The next seed to play; undefined when there is none any more. */
  readonly nextSeed: () => number | undefined;
  /** Called with every history that was played. */
  readonly played: (result: Result) => void;
}

/**
 * Flags of V8 for whoever plays histories. Its heap, in MiB: 1.3 GiB a thread. A history makes some 80 MB and is garbage when it
 * is over. A collection costs what lives at that moment, some 16 MB of the last history, however many went before: so the young
 * generation holds seven. What it moves to the old one is garbage soon, and is not looked through before there is much of it.
 *
 * Its compilers wait for four and ten times as many calls as V8 itself would have them: what a history runs is wide and flat, and
 * to optimize what only looks hot is hardly worth its cost, which falls on the cores that the other threads play on. It is a
 * small gain: played turn by turn, 3 to 7 % less processor time in all, of which the thread itself takes 2 to 8 % more.
 */
export const engineFlags: readonly string[] = [
  '--min-semi-space-size=640',
  '--max-semi-space-size=640',
  '--initial-old-space-size=1000',
  '--invocation-count-for-turbofan=30000',
  '--invocation-count-for-maglev=1500',
];

/** Seeds a thread is given at once: few enough that all threads end together. */
const SEEDS_AT_ONCE = 4;

/**
 * Plays histories on threads until there are no seeds any more. Each history is alone on its thread: nothing of it
 * depends on what else the machine does.
 * @throws what a thread throws: a mistake of the simulation, not a finding
 */
export const playOnThreads = async (options: PoolOptions): Promise<void> => {
  const { workers, untilAction, nextSeed, played } = options;
  const order: PlayOrder = { untilAction };
  const take = (): number[] => {
    const seeds: number[] = [];
    while (seeds.length < SEEDS_AT_ONCE) {
      const seed = nextSeed();
      if (seed === undefined) break;
      seeds.push(seed);
    }
    return seeds;
  };

  const playOn = (thread: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      const giveMore = (): void => {
        const seeds = take();
        if (seeds.length > 0) thread.postMessage(seeds);
        else resolve();
      };
      thread.on('message', ({ results }: PlayReport) => {
        for (const result of results) played(result);
        giveMore();
      });
      thread.once('error', reject);
      thread.once('exit', (code) => reject(new Error(`a thread of the simulation ended with ${code}`)));
      giveMore();
    });

  // For threads that are made from here on: they cannot be given flags of their own.
  for (const flag of engineFlags) setFlagsFromString(flag);
  const threads = Array.from(
    { length: workers },
    () => new Worker(new URL('play-thread.ts', import.meta.url), { workerData: order }),
  );
  try {
    await Promise.all(threads.map(playOn));
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
};
