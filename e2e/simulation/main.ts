import { randomInt } from 'node:crypto';
import { playInProcesses } from './runs/play-pool.ts';
import type { PlayTask, Result } from './runs/play-process.ts';
import { type RunOptions, readOptions, UsageError, usage } from './runs/run-options.ts';
import {
  emptySummary,
  lastLine,
  meansLine,
  type RunSummary,
  throughputLine,
  violationText,
  withResult,
} from './runs/run-summary.ts';

const PROGRESS_MS = 5_000;

/** Plays one history here and prints its whole log. */
const replay = async ({ seed, untilAction, diskHosts, vmHosts }: RunOptions): Promise<RunSummary> => {
  // A parent of playing processes needs none of it.
  const { playHistory } = await import('./runs/history.ts');
  const { lines, ...result } = await playHistory({ seed, untilAction, diskHosts, vmHosts });
  for (const line of lines()) console.log(line);
  return withResult(emptySummary, result);
};

/** Plays many histories in separate processes, and prints each violation as soon as it is found. */
const playMany = async (options: RunOptions, elapsedMs: () => number): Promise<RunSummary> => {
  let summary = emptySummary;
  let begun = 0;
  console.log(`seeds from ${options.seed} on, ${options.workers} processes`);
  const progress = setInterval(() => console.log(throughputLine(summary, elapsedMs())), PROGRESS_MS);
  try {
    await playInProcesses<PlayTask, Result>({
      script: new URL('./runs/play-process.ts', import.meta.url),
      workers: options.workers,
      task: { untilAction: options.untilAction, diskHosts: options.diskHosts, vmHosts: options.vmHosts },
      nextSeed: () => {
        if (begun >= options.histories || elapsedMs() >= options.seconds * 1_000) return undefined;
        begun += 1;
        return (options.seed + begun - 1) % 2 ** 32;
      },
      played: (result) => {
        summary = withResult(summary, result);
        if (result.violation) console.log(violationText(result, options));
      },
    });
  } finally {
    clearInterval(progress);
  }
  return summary;
};

try {
  const options = readOptions(process.argv.slice(2), () => randomInt(2 ** 32));
  if (options === undefined) {
    console.log(usage);
    process.exit(0);
  }
  const startedMs = performance.now();
  const elapsedMs = (): number => performance.now() - startedMs;
  const isReplay = options.isChosen && options.histories === 1;
  const summary = await (isReplay ? replay(options) : playMany(options, elapsedMs));
  const durationMs = elapsedMs();
  console.log(throughputLine(summary, durationMs));
  console.log(meansLine(summary));
  console.log(lastLine(summary, durationMs, options.seed));
  process.exitCode = summary.violations.length === 0 ? 0 : 1;
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${usage}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
