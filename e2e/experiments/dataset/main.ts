import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Experiment, experimentTextOf, problemLines, readExperiment, withChanges } from '@interlock/lab';
import { assertEmpty, checkDataset, DatasetError, writeCollection, writeRun } from '@interlock/lab/dataset';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type Scope, systemClock, UserFileError, visible } from '@interlock/runtime';
import { playInProcesses } from '../../simulation/runs/play-pool.ts';
import { simulatedTarget } from '../simulated/target.ts';
import type { RecordedRun, RecordTask } from './record-process.ts';
import { recordRun } from './record-run.ts';

const usage = 'interlock dataset record EXPERIMENT --out DIR [--seed N] [--target local|simulated] [--runs N]';

/** Exit code of bad input. */
const badInput = 2;
/** How many processes record simulated runs at the same time. */
const workers = 2;
/** Time between two lines of progress, in milliseconds. */
const progressMs = 5_000;
/** Seeds are 32 bits. */
const seeds = 2 ** 32;

/** `dataset record`: the part that needs the services of the clone. */
runCommand((scope) =>
  recordFile(scope).catch((error: unknown) => {
    if (error instanceof UserFileError) return refused([error.message]);
    throw error;
  }),
);

async function recordFile(scope: Scope): Promise<{ readonly exitCode: number }> {
  const { values, positionals } = readArguments();
  const [path] = positionals;
  const { out, target, runs, seed } = values;
  if (path === undefined || positionals.length > 1 || out === undefined) throw new LauncherError(usage);
  if (target !== 'local' && target !== 'simulated')
    throw new LauncherError(`--target must be local or simulated, not "${target}".`);
  if (!/^[1-9]\d{0,4}$/.test(runs)) throw new LauncherError(`--runs must be 1 to 99999, not "${runs}".`);
  if (!existsSync(path)) throw new LauncherError(`${path} does not exist.`);
  const whole = experimentTextOf(path);
  if ('problems' in whole) return refused(problemLines(path, whole.problems));
  const text = withChanges(whole.text, [], seed);
  const read = readExperiment(text);
  if ('problems' in read) return refused(problemLines(path, read.problems));
  const { experiment } = read;
  const problems = target === 'simulated' ? simulatedTarget(experiment.seed).refuse(experiment) : [];
  if (problems.length > 0) return refused(problemLines(path, problems));
  const folder = resolve(out);
  try {
    assertEmpty(folder);
    const task = { experiment, text, out: folder };
    if (runs === '1') await recordOne(task, target, scope);
    else if (target === 'simulated') await recordMany(task, Number(runs), scope);
    else await recordInTurn(task, Number(runs), scope);
  } catch (error) {
    if (error instanceof DatasetError) return refused([error.message]);
    throw error;
  }
  const broken = checkDataset(folder);
  for (const line of broken) console.error(line);
  console.log(broken.length === 0 ? `${folder}: checked, sound` : `${folder}: ${broken.length} problems`);
  return { exitCode: broken.length === 0 ? 0 : 1 };
}

function readArguments() {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      allowPositionals: true,
      options: { out: text, seed: text, target: { ...text, default: 'local' }, runs: { ...text, default: '1' } },
    });
  } catch (error) {
    throw new LauncherError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
}

function refused(lines: readonly string[]): { readonly exitCode: number } {
  for (const line of lines) console.error(visible(line));
  return { exitCode: badInput };
}

async function record(
  { experiment, text, out }: RecordTask,
  target: 'local' | 'simulated',
  { seed, id }: { readonly seed: number; readonly id: string },
  scope: Scope,
): Promise<RecordedRun> {
  const fromMs = systemClock.monotonicMs();
  const say = (line: string): void =>
    console.log(visible(`${((systemClock.monotonicMs() - fromMs) / 1_000).toFixed(1).padStart(6)} s  ${line}`));
  const interrupt = new AbortController();
  const running = recordRun({ experiment, text, seed, id, target, signal: interrupt.signal, say });
  // Ctrl-C: everything is undone before the process ends.
  scope.defer('recording', async () => {
    interrupt.abort();
    await running.catch(() => undefined);
  });
  const data = await running;
  const { traces, events, edges } = data;
  const sha256 = writeRun(out, data);
  console.log(
    `${events.length} events, ${edges.length} edges, ${traces.length} exports of spans; outcome ${data.facts.outcome}`,
  );
  console.log(`manifest ${sha256}`);
  return { path: id, seed, sha256, outcome: data.facts.outcome };
}

async function recordOne(task: RecordTask, target: 'local' | 'simulated', scope: Scope): Promise<void> {
  const { seed } = task.experiment;
  await record(task, target, { seed, id: `${target}-${seed}` }, scope);
}

/** Runs on a local cloud, one after the other, because two at the same time would disturb each other. */
async function recordInTurn(task: RecordTask, runs: number, scope: Scope): Promise<void> {
  const recorded: RecordedRun[] = [];
  for (const seed of seedsOf(task.experiment, runs)) {
    if (scope.signal.aborted) break;
    const id = `local-${seed}`;
    console.log(`run ${recorded.length + 1} of ${runs}`);
    recorded.push(await record({ ...task, out: join(task.out, id) }, 'local', { seed, id }, scope));
  }
  writeCollection(task.out, task.experiment.title, manifestRuns(recorded));
}

/** Simulated runs, in separate processes. */
async function recordMany(task: RecordTask, runs: number, { signal }: Scope): Promise<void> {
  const fromMs = systemClock.monotonicMs();
  const recorded: RecordedRun[] = [];
  const left = seedsOf(task.experiment, runs);
  let nextMs = fromMs + progressMs;
  await playInProcesses<RecordTask, RecordedRun>({
    script: new URL('./record-process.ts', import.meta.url),
    workers: Math.min(workers, runs),
    task,
    nextSeed: () => (signal.aborted ? undefined : left.shift()),
    played: (run) => {
      recorded.push(run);
      const nowMs = systemClock.monotonicMs();
      if (nowMs < nextMs) return;
      nextMs = nowMs + progressMs;
      const leftS = (((nowMs - fromMs) / recorded.length) * (runs - recorded.length)) / 1_000;
      console.log(`${recorded.length} of ${runs} runs; ${Math.ceil(leftS)} s left`);
    },
  });
  // Processes end in any order: the manifest is the same each time.
  const sorted = recorded.toSorted((a, b) => a.seed - b.seed);
  writeCollection(task.out, task.experiment.title, manifestRuns(sorted));
  console.log(`${sorted.length} runs: ${outcomes(sorted)}`);
}

function manifestRuns(runs: readonly RecordedRun[]): Parameters<typeof writeCollection>[2] {
  return runs.map(({ path, seed, sha256 }) => ({ path, seed, sha256 }));
}

function outcomes(runs: readonly RecordedRun[]): string {
  return [...Map.groupBy(runs, ({ outcome }) => outcome)]
    .map(([outcome, all]) => `${all.length} ${outcome}`)
    .join(', ');
}

function seedsOf({ seed }: Experiment, runs: number): number[] {
  return Array.from({ length: runs }, (_, index) => (seed + index) % seeds);
}
