import { type ChildProcess, fork } from 'node:child_process';

/** What a process is to play: histories of these seeds. `Task`: what they have in common. */
export interface PlayOrder<Task> {
  readonly seeds: readonly number[];
  readonly task: Task;
}

export interface PlayReport<Result> {
  readonly results: readonly Result[];
}

export interface PoolOptions<Task, Result> {
  /** Module of the process: it takes orders (`takeOrders`). */
  readonly script: URL;
  readonly workers: number;
  readonly task: Task;
  /** The next seed to play; undefined at the end. */
  readonly nextSeed: () => number | undefined;
  /** Called with every history that was played. */
  readonly played: (result: Result) => void;
}

/**
 * Flags of V8 for processes that play histories. Its heap, in MiB: 1.5 GiB a process after 300 histories, 2 GiB later. A history makes
 * some 80 MB and is garbage when it is over. A collection costs what lives at that moment: so the young generation holds seven.
 * What it moves to the old one is garbage soon, and is not looked through before there is much of it. Buffers, which lie outside
 * of the heap, count as a part of it for that: by themselves they pass what V8 allows them, 64 MB, every thirty histories.
 *
 * Nothing is put into the old generation before it has lived. V8 would do so with what often lived when it collected, which is a
 * piece of each history that was cut short; and whatever such a piece knows, which is the history, is then kept, copied and moved
 * after it. For the same reason nothing that a history runs writes a function into a property as it makes it, or makes generator
 * functions of its own: V8 puts both, or what belongs to them, straight among what is old. It collects on the thread that plays:
 * the others are busy, and threads that share out a collection wait for each other.
 *
 * Its compilers wait for four and ten times as many calls as V8 itself would have them: what a history runs is wide and flat, and
 * to optimize what only looks hot is hardly worth its cost, which falls on the cores that the others play on. It is a
 * small gain: played turn by turn, 3 to 7 % less processor time in all, of which what plays itself takes 2 to 8 % more.
 *
 * Node's own code lies on large pages where the system has them: a history runs through so much of it that to look its pages up
 * took 3.5 % of the processor time (in turn, 200 histories).
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

/** Seeds a process is given at once: few enough that all end together. */
const SEEDS_AT_ONCE = 4;

/**
 * Plays histories in processes of their own until there are no seeds any more. Each history is alone in its process: nothing
 * of it depends on what else the machine does. Processes and not threads, because only they can be given flags of their own.
 * @throws Error when a process ends before its histories do: a mistake of the simulation, not a finding; it has said which
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
    // They keep what they have compiled, for those of the next time.
    for (const child of children) child.disconnect();
  } catch (error) {
    for (const child of children) child.kill('SIGKILL');
    throw error;
  }
};
