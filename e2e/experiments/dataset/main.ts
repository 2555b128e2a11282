import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { experimentTextOf, problemLines, readExperiment, withChanges } from '@interlock/lab';
import { assertEmpty, checkDataset, DatasetError, writeCollection, writeRun } from '@interlock/lab/dataset';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type Scope, systemClock, UserFileError, visible } from '@interlock/runtime';
import { playInProcesses } from '../../simulation/runs/play-pool.ts';
import { simulatedTarget } from '../simulated/target.ts';
import { archiveOf } from './archive.ts';
import { recordRun } from './record-run.ts';
import { type Played, playedBy, type RecordedRun, type RecordTask } from './record-task.ts';

const usage = `interlock dataset record EXPERIMENT|study --out DIR [--seed N] [--target local|simulated] [--runs N]
interlock dataset archive --out DIR [--seed N] [--runs N] [--real N]

study: each run draws its estate, losses, faults and what users do from its seed.`;

/** In place of a file: runs that differ. */
const STUDY = 'study';

/** In place of a file: a study of simulated and real runs as one archive. */
const ARCHIVE = 'archive';
/** Runs of an archive. */
const archived = { simulated: '100', real: '20' } as const;

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
  const { out, target, seed, real, runs = path === ARCHIVE ? archived.simulated : '1' } = values;
  if (path === undefined || positionals.length > 1 || out === undefined) throw new LauncherError(usage);
  if (target !== 'local' && target !== 'simulated')
    throw new LauncherError(`--target must be local or simulated, not "${target}".`);
  if (!/^[1-9]\d{0,4}$/.test(runs)) throw new LauncherError(`--runs must be 1 to 99999, not "${runs}".`);
  const folder = resolve(out);
  if (path === ARCHIVE || (path.endsWith(STUDY) && !existsSync(path))) {
    const first = Number(seed ?? '1');
    if (!/^\d{1,9}$/.test(seed ?? '1')) throw new LauncherError(`--seed must be a whole number, not "${seed}".`);
    const task: RecordTask = { title: 'Study: runs that differ', plays: STUDY, out: folder };
    if (path !== ARCHIVE) return recorded(task, { target, runs: Number(runs), first }, scope);
    if (!/^\d{1,4}$/.test(real)) throw new LauncherError(`--real must be 0 to 9999, not "${real}".`);
    return recordedArchive(task, { simulated: Number(runs), real: Number(real), first }, scope);
  }
  if (!existsSync(path)) throw new LauncherError(`${path} does not exist. Name an experiment file, or ${STUDY}.`);
  const whole = experimentTextOf(path);
  if ('problems' in whole) return refused(problemLines(path, whole.problems));
  const text = withChanges(whole.text, [], seed);
  const read = readExperiment(text);
  if ('problems' in read) return refused(problemLines(path, read.problems));
  const { experiment } = read;
  const problems = target === 'simulated' ? simulatedTarget(experiment.seed).refuse(experiment) : [];
  if (problems.length > 0) return refused(problemLines(path, problems));
  const task: RecordTask = { title: experiment.title, plays: { experiment, text }, out: folder };
  return recorded(task, { target, runs: Number(runs), first: experiment.seed }, scope);
}

/** How many runs are recorded, where, and the seed of the first. */
interface Wanted {
  readonly target: 'local' | 'simulated';
  readonly runs: number;
  readonly first: number;
}

/** Records the runs and checks the data set. */
function recorded(task: RecordTask, wanted: Wanted, scope: Scope): Promise<{ readonly exitCode: number }> {
  return checked(task.out, async () => {
    if (wanted.runs === 1) await recordOne(task, wanted, scope);
    else writeAll(task, await recordSeveral(task, wanted, scope));
  });
}

/** Records simulated runs and then real ones, checks them, and writes them as one archive. */
async function recordedArchive(
  task: RecordTask,
  { simulated, real, first }: { readonly simulated: number; readonly real: number; readonly first: number },
  scope: Scope,
): Promise<{ readonly exitCode: number }> {
  if (existsSync(`${task.out}.tar`)) return refused([`${task.out}.tar exists: name another folder with --out`]);
  const ended = await checked(task.out, async () => {
    const runs = [...(await recordSeveral(task, { target: 'simulated', runs: simulated, first }, scope))];
    if (real > 0) runs.push(...(await recordSeveral(task, { target: 'local', runs: real, first }, scope)));
    if (runs.length < simulated + real) throw new LauncherError(`interrupted after ${runs.length} runs: no archive`);
    writeAll(task, runs);
  });
  if (ended.exitCode !== 0) return ended;
  const { path, sha256 } = await archiveOf(task.out);
  console.log(`${sha256}  ${path}`);
  return ended;
}

/** Records into a new or empty folder and checks it. */
async function checked(folder: string, work: () => Promise<void>): Promise<{ readonly exitCode: number }> {
  try {
    assertEmpty(folder);
    await work();
  } catch (error) {
    if (error instanceof DatasetError) return refused([error.message]);
    throw error;
  }
  const broken = checkDataset(folder);
  for (const line of broken) console.error(line);
  console.log(broken.length === 0 ? `${folder}: checked, sound` : `${folder}: ${broken.length} problems`);
  return { exitCode: broken.length === 0 ? 0 : 1 };
}

function writeAll(task: RecordTask, runs: readonly RecordedRun[]): void {
  const { distinctGraphs } = writeCollection(task.out, task.title, manifestRuns(runs));
  console.log(`${runs.length} runs with ${distinctGraphs} distinct causal graphs`);
}

function recordSeveral(task: RecordTask, wanted: Wanted, scope: Scope): Promise<readonly RecordedRun[]> {
  return wanted.target === 'simulated' ? recordMany(task, wanted, scope) : recordInTurn(task, wanted, scope);
}

function readArguments() {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        out: text,
        seed: text,
        target: { ...text, default: 'local' },
        runs: text,
        real: { ...text, default: archived.real },
      },
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
  { experiment, text, out }: Played & Pick<RecordTask, 'out'>,
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

async function recordOne(task: RecordTask, { target, first: seed }: Wanted, scope: Scope): Promise<void> {
  await record({ ...playedBy(task, seed), out: task.out }, target, { seed, id: `${target}-${seed}` }, scope);
}

/** Runs on a local cloud, one after the other, because two at the same time would disturb each other. */
async function recordInTurn(task: RecordTask, { first, runs }: Wanted, scope: Scope): Promise<readonly RecordedRun[]> {
  const done: RecordedRun[] = [];
  for (const seed of seedsOf(first, runs)) {
    if (scope.signal.aborted) break;
    const id = `local-${seed}`;
    console.log(`run ${done.length + 1} of ${runs}`);
    const one = { ...playedBy(task, seed), out: join(task.out, id) };
    done.push(await record(one, 'local', { seed, id }, scope));
  }
  return done;
}

/** Simulated runs, in separate processes. */
async function recordMany(
  task: RecordTask,
  { first, runs }: Wanted,
  { signal }: Scope,
): Promise<readonly RecordedRun[]> {
  const fromMs = systemClock.monotonicMs();
  const done: RecordedRun[] = [];
  const left = seedsOf(first, runs);
  let nextMs = fromMs + progressMs;
  await playInProcesses<RecordTask, RecordedRun>({
    script: new URL('./record-process.ts', import.meta.url),
    workers: Math.min(workers, runs),
    task,
    nextSeed: () => (signal.aborted ? undefined : left.shift()),
    played: (run) => {
      done.push(run);
      const nowMs = systemClock.monotonicMs();
      if (nowMs < nextMs) return;
      nextMs = nowMs + progressMs;
      const leftS = (((nowMs - fromMs) / done.length) * (runs - done.length)) / 1_000;
      console.log(`${done.length} of ${runs} runs; ${Math.ceil(leftS)} s left`);
    },
  });
  // Processes end in any order: the manifest is the same each time.
  const sorted = done.toSorted((a, b) => a.seed - b.seed);
  console.log(`${sorted.length} runs: ${outcomes(sorted)}`);
  return sorted;
}

function manifestRuns(runs: readonly RecordedRun[]): Parameters<typeof writeCollection>[2] {
  return runs.map(({ path, seed, sha256 }) => ({ path, seed, sha256 }));
}

function outcomes(runs: readonly RecordedRun[]): string {
  return [...Map.groupBy(runs, ({ outcome }) => outcome)]
    .map(([outcome, all]) => `${all.length} ${outcome}`)
    .join(', ');
}

function seedsOf(seed: number, runs: number): number[] {
  return Array.from({ length: runs }, (_, index) => (seed + index) % seeds);
}
