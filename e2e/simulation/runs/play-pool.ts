import { type ChildProcess, fork } from 'node:child_process';

/** The histories that a process must play, by seed. `Task`: what they share. */
export interface PlayOrder<Task> {
  readonly seeds: readonly number[];
  readonly task: Task;
}

export interface PlayReport<Result> {
  readonly results: readonly Result[];
}

export interface PoolOptions<Task, Result> {
  /** Module of the process, which calls `takeOrders`. */
  readonly script: URL;
  readonly workers: number;
  readonly task: Task;
  /** The next seed to play; undefined at the end. */
  readonly nextSeed: () => number | undefined;
  /** Called for every completed history. */
  readonly played: (result: Result) => void;
}

/**
 * Flags of V8 for processes that play histories. The heap, in MiB: 1.5 GiB a process after 300 histories, 2 GiB later. A history allocates
 * about 80 MB, which is garbage at its end. A collection costs what is alive at that moment, so the young generation holds seven histories.
 * What it moves to the old generation is garbage soon, and is not collected before there is much of it. Buffers, which are outside
 * of the heap, count only partly for that: alone they exceed V8's limit of 64 MB every thirty histories.
 *
 * Nothing is allocated directly in the old generation. V8 would do so for objects that often survived collections, which are pieces
 * of histories that were collected half way. Whatever such a piece refers to, which is the history, is then kept, copied and moved
 * after it. For the same reason no code of a history writes a function into a property when it creates it, or creates generator
 * functions of its own: V8 allocates both, or parts of them, directly in the old generation. It collects on the playing thread: the
 * others are busy, and threads that share a collection wait for one another.
 *
 * Its compilers wait for four and ten times as many calls as by default: the code of a history is wide and flat, and optimizing what
 * only looks hot is hardly worth its cost, which slows the other players on the same cores. The gain is small: played alternately,
 * 3 to 7 % less processor time in all, although the playing itself takes 2 to 8 % more.
 *
 * Node's own code is on large pages if the system has them: a history runs so much of it that page lookups took 3.5 % of the
 * processor time (measured alternately, 200 histories).
 */
export const engineFlags: readonly string[] = [
  '--min-semi-space-size=640',
  '--max-semi-space-size=640',
  '--initial-old-space-size=1000',
  '--external-memory-accounted-in-global-limit',
  '--use-largepages=silent',
  '--no-allocation-site-pretenuring',
  '--single-threaded-gc',
  '--invocation-count-for-turbofan=30000',
  '--invocation-count-for-maglev=1500',
];

/** Processes that play one history after another, each with a task of its own. */
export interface PlayPool<Task, Result> {
  /** Plays them in any order. @returns results in the order of the tasks @throws Error if a process ends */
  play(tasks: readonly { readonly seed: number; readonly task: Task }[]): Promise<readonly Result[]>;
  /** Ends the processes; histories in progress are lost. */
  close(): void;
}

/**
 * Starts processes that run until they are closed or this process ends. They are in a process group of their own, so that Ctrl-C ends
 * only this process, which can report what it has.
 * @param script module of the process, which calls `takeOrders`
 */
export const openPlayPool = <Task, Result>(script: URL, workers: number): PlayPool<Task, Result> => {
  const children = Array.from({ length: workers }, () =>
    fork(script, { execArgv: [...process.execArgv, ...engineFlags], serialization: 'advanced', detached: true }),
  );
  const playOne = (child: ChildProcess, { seed, task }: { seed: number; task: Task }): Promise<Result> =>
    new Promise((resolve, reject) => {
      const onExit = (code: number | null, signal: string | null): void =>
        reject(new Error(`a process of the simulation ended with ${code ?? signal}`));
      child.once('exit', onExit);
      child.once('message', (report) => {
        child.off('exit', onExit);
        const [result] = (report as PlayReport<Result>).results;
        if (result === undefined) reject(new Error('a process of the simulation reported no history'));
        else resolve(result);
      });
      child.send({ seeds: [seed], task } satisfies PlayOrder<Task>);
    });
  return {
    async play(tasks) {
      const results: Result[] = [];
      const left = [...tasks.entries()];
      const playIn = async (child: ChildProcess): Promise<void> => {
        for (let next = left.shift(); next !== undefined; next = left.shift())
          results[next[0]] = await playOne(child, next[1]);
      };
      await Promise.all(children.map(playIn));
      return results;
    },
    close() {
      for (const child of children) child.kill('SIGKILL');
    },
  };
};

/** Seeds that a process gets at the same time: few enough that all processes end together. */
const SEEDS_AT_ONCE = 4;

/**
 * Plays histories in separate processes until there are no more seeds. Each history is alone in its process, so that it does not
 * depend on other work of the machine. Processes and not threads, because only they can have their own flags.
 * @throws Error if a process ends before its histories do: a mistake of the simulation, not a finding; the process has printed which
 */
export const playInProcesses = async <Task, Result>(options: PoolOptions<Task, Result>): Promise<void> => {
  const { script, workers, task, nextSeed, played } = options;
  const take = (): number[] => {
    const seeds: number[] = [];
    while (seeds.length < SEEDS_AT_ONCE) {
      const seed = nextSeed();
      if (seed === undefined) break;
      seeds.push(seed);
    }
    return seeds;
  };

  const playIn = (child: ChildProcess): Promise<void> =>
    new Promise((resolve, reject) => {
      const giveMore = (): void => {
        const seeds = take();
        if (seeds.length > 0) child.send({ seeds, task } satisfies PlayOrder<Task>);
        else resolve();
      };
      child.on('message', (report) => {
        for (const result of (report as PlayReport<Result>).results) played(result);
        giveMore();
      });
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        reject(new Error(`a process of the simulation ended with ${code ?? signal}`)),
      );
      giveMore();
    });

  const children = Array.from({ length: workers }, () =>
    fork(script, { execArgv: [...process.execArgv, ...engineFlags], serialization: 'advanced' }),
  );
  try {
    await Promise.all(children.map(playIn));
    // They store their compiled code for the processes of the next run.
    for (const child of children) child.disconnect();
  } catch (error) {
    for (const child of children) child.kill('SIGKILL');
    throw error;
  }
};
