import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Experiment,
  experimentTextOf,
  type MatrixCase,
  type Problem,
  problemLines,
  readExperiment,
  readMatrix,
  signManifest,
  type Target,
  type Verdict,
  verdictLines,
  withChanges,
} from '@interlock/lab';
import { cellsOf, type MatrixRun } from '@interlock/lab/report/matrix/cells-of';
import { matrixPage } from '@interlock/lab/report/matrix/matrix-page';
import type { SpanStore } from '@interlock/lab/spans/span-store';
import { dataRoot } from '@interlock/local/data-folder.ts';
import { readUserFile, type Scope, systemClock, UserFileError, visible, visibleInLine } from '@interlock/runtime';
import type { ClusterPlace } from '../../deploy/kubernetes/kubectl.ts';
import { clusterTarget, requireCloudIn } from './kubernetes/cluster-target.ts';
import { existingCloudTarget } from './local/existing-cloud.ts';
import { ownCloudTarget } from './local/own-cloud.ts';
import { recoverRun } from './recover-run.ts';
import { type RunPlace, runFile, thisRunner } from './run-file.ts';
import { idOf } from './run-id.ts';
import { historiesExitCode, historiesLines, playHistories } from './simulated/histories.ts';
import { outcomesText, playMatrix, worstExitCode } from './simulated/matrix.ts';
import { foreverCommand } from './simulated/search/forever-command.ts';
import { searchCommand } from './simulated/search/search-command.ts';
import { simulatedTarget } from './simulated/target.ts';

const usage = `interlock experiment run FILE [--target local|existing|kubernetes|simulated] [--keep DIR] [--repeat N] [--seed N] [--set leaseTtl=30s]
                         [--histories N] [--forever [--json]] [--kube-context C] [--namespace N] [--sign KEY]
interlock experiment validate FILE… --target local|existing|kubernetes|simulated
interlock experiment search FILE [--target simulated] [--budget 10m] [--histories N] [--seed N] [--set leaseTtl=30s] [--output FILE]
interlock experiment recover DIR`;

/** Exit code of bad input. */
const badInput = 2;

/** A flag or file that is wrong. */
class BadInput extends Error {}

/**
 * `experiment run`, `validate`, `search` and `recover`: the parts that need the services of the clone. Problems of the arguments and
 * files are printed to standard error.
 */
export const experimentCommand = (args: readonly string[], scope: Scope): Promise<{ readonly exitCode: number }> =>
  command(args, scope).catch((error: unknown) => {
    if (error instanceof BadInput) return refused([error.message]);
    throw error;
  });

async function command(args: readonly string[], scope: Scope): Promise<{ readonly exitCode: number }> {
  const { values, positionals } = readArguments(args);
  const [verb, path] = positionals;
  if (verb === 'validate' && path !== undefined) return validate(positionals.slice(1), values);
  if (path === undefined || positionals.length > 2) throw new BadInput(usage);
  if (verb === 'recover') return { exitCode: await recoverRun(resolve(path), console.log) };
  if (verb === 'search') return searchOne(resolve(path), values, scope);
  if (verb !== 'run') throw new BadInput(usage);
  return run(resolve(path), values, scope);
}

type Wishes = ReturnType<typeof readArguments>['values'];

function readArguments(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        target: text,
        budget: { ...text, default: '10m' },
        output: text,
        keep: text,
        repeat: { ...text, default: '1' },
        seed: text,
        histories: text,
        forever: { type: 'boolean' },
        json: { type: 'boolean' },
        'kube-context': text,
        namespace: { ...text, default: 'interlock' },
        sign: text,
        set: { ...text, multiple: true, default: [] },
      },
    });
  } catch (error) {
    throw new BadInput(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
}

async function run(path: string, wishes: Wishes, scope: Scope): Promise<{ readonly exitCode: number }> {
  const { target = 'local', keep, repeat, seed, set, histories } = wishes;
  if (!/^[1-9]\d{0,3}$/.test(repeat)) throw new BadInput(`--repeat must be 1 to 9999, not "${repeat}".`);
  requireTarget(target);
  const cluster = { context: wishes['kube-context'], namespace: wishes.namespace };
  const sign = wishes.sign === undefined ? undefined : keyIn(wishes.sign);
  if (keep !== undefined) requireEmpty(resolve(keep));
  const whole = textIn(path);
  if ('problems' in whole) return refused(problemLines(path, whole.problems));
  const text = changed(whole.text, set, seed);
  const read = readExperiment(text);
  if ('problems' in read) return refused(problemLines(path, read.problems));
  if (wishes.forever === true) {
    const folder = resolve(keep ?? join(dataRoot(process.env), 'searches', idOf(path)));
    return ended(path, await foreverCommand({ text, seed: read.experiment.seed, folder, wishes }, scope));
  }
  if (histories !== undefined) return playMany({ path, experiment: read.experiment, target }, histories, scope);
  const matrix = readMatrix(text);
  if (matrix !== undefined && 'problems' in matrix) return refused(problemLines(path, matrix.problems));
  if (matrix !== undefined && target !== 'simulated')
    throw new BadInput('a file with a matrix needs --target simulated: only there are many runs short.');
  if (target === 'simulated' && (matrix !== undefined || repeat !== '1'))
    return playAll(
      { path, cases: matrix?.cases ?? [{ text, experiment: read.experiment }], repeat: Number(repeat), keep },
      scope,
    );
  const runs: MatrixRun[] = [];
  for (let count = 1; count <= Number(repeat) && !scope.signal.aborted; count += 1) {
    if (repeat !== '1') console.log(`run ${count} of ${repeat}`);
    const folder =
      keep === undefined ? undefined : repeat === '1' ? resolve(keep) : join(resolve(keep), `run-${count}`);
    const ended = await runOnce({ path, text, experiment: read.experiment, target, cluster, folder, sign }, scope);
    if ('exitCode' in ended) return ended;
    const report = keep === undefined ? {} : { report: `run-${count}/report.html` };
    runs.push({ experiment: read.experiment, verdict: ended, ...report });
  }
  if (runs.length > 1)
    writeMatrix(runs, read.experiment.title, keep ?? join(dataRoot(process.env), 'experiments', idOf(path)));
  return { exitCode: worstExitCode(runs.map(({ verdict }) => verdict.outcome)) };
}

function requireTarget(target: string): asserts target is Target['name'] {
  if (!['local', 'existing', 'kubernetes', 'simulated'].includes(target))
    throw new BadInput(`--target must be local, existing, kubernetes or simulated, not "${target}".`);
}

/** Checks files for a target: what it cannot do is a problem. Starts nothing. */
function validate(
  paths: readonly string[],
  { target: name = 'local', ...wishes }: Wishes,
): { readonly exitCode: number } {
  requireTarget(name);
  const cluster = { context: wishes['kube-context'], namespace: wishes.namespace };
  const parts = { id: 'validate', say: () => undefined };
  const data = dataRoot(process.env);
  const targets: Readonly<Record<Target['name'], () => Target>> = {
    simulated: () => simulatedTarget(1),
    kubernetes: () => clusterTarget(cluster, parts),
    existing: () => existingCloudTarget(data, parts),
    local: () => ownCloudTarget(data, parts),
  };
  let exitCode = 0;
  for (const path of paths.map((one) => resolve(one))) {
    const whole = textIn(path);
    const read = 'problems' in whole ? whole : readExperiment(whole.text);
    const problems = 'problems' in read ? read.problems : targets[name]().refuse(read.experiment);
    if (problems.length === 0) console.log(visible(`${path}: valid on the target ${name}`));
    else ({ exitCode } = refused(problemLines(path, problems)));
  }
  return { exitCode };
}

/** `experiment search`. */
async function searchOne(path: string, wishes: Wishes, scope: Scope): Promise<{ readonly exitCode: number }> {
  const whole = textIn(path);
  if ('problems' in whole) return refused(problemLines(path, whole.problems));
  const text = changed(whole.text, wishes.set);
  const output = resolve(wishes.output ?? join(dataRoot(process.env), 'searches', `${idOf(path)}.experiment.yaml`));
  const other = ownCloudTarget('', { id: 'search', say: console.log });
  return ended(path, await searchCommand({ text, other, wishes: { ...wishes, output } }, scope));
}

/** The exit code of a command, or its problems. */
function ended(path: string, result: Awaited<ReturnType<typeof searchCommand>>): { readonly exitCode: number } {
  if ('exitCode' in result) return result;
  return refused('problems' in result ? problemLines(path, result.problems) : [result.wrong]);
}

/** The file with its estate, or the problems of the estate. @throws BadInput if the file cannot be read */
function textIn(path: string): ReturnType<typeof experimentTextOf> {
  if (!existsSync(path)) throw new BadInput(`${path} does not exist.`);
  try {
    return experimentTextOf(path);
  } catch (error) {
    if (error instanceof UserFileError) throw new BadInput(error.message, { cause: error });
    throw error;
  }
}

/** The key of `--sign`. @throws BadInput unless it is a private key of Ed25519 in PEM */
function keyIn(path: string): Buffer {
  try {
    const pem = readUserFile(resolve(path));
    signManifest(Buffer.alloc(0), Buffer.from(pem));
    return Buffer.from(pem);
  } catch (error) {
    throw new BadInput(`--sign ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Creates the folder of `--keep`. @throws BadInput if evidence cannot be kept there */
function requireEmpty(folder: string): void {
  let found: string | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    [found] = readdirSync(folder);
  } catch (error) {
    throw new BadInput(`--keep: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  if (found !== undefined) throw new BadInput(`--keep must name a new or empty folder: ${folder} has ${found}.`);
}

/** The text with `--set` and `--seed`. @throws BadInput for a setting without a value */
function changed(...[text, set, seed]: Parameters<typeof withChanges>): string {
  try {
    return withChanges(text, set, seed);
  } catch (error) {
    throw new BadInput(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

interface ManyRuns {
  readonly path: string;
  readonly cases: readonly Pick<MatrixCase, 'text' | 'experiment'>[];
  readonly repeat: number;
  readonly keep: string | undefined;
}

/** Plays every case of a matrix, or one file repeatedly, in virtual time. */
async function playAll(
  { path, cases, repeat, keep }: ManyRuns,
  { signal }: Scope,
): Promise<{ readonly exitCode: number }> {
  const problems = cases.flatMap(({ experiment }) => simulatedTarget(experiment.seed).refuse(experiment));
  if (problems.length > 0) return refused(problemLines(path, problems.slice(0, 1)));
  const fromMs = systemClock.monotonicMs();
  const runs = await playMatrix({
    cases: cases.map(({ text }) => ({ text })),
    repeat,
    folder: keep === undefined ? undefined : resolve(keep),
    workers: 2,
    signal,
    say: console.log,
    elapsedMs: () => systemClock.monotonicMs() - fromMs,
  });
  writeMatrix(runs, basename(path), keep ?? join(dataRoot(process.env), 'experiments', idOf(path)));
  return { exitCode: worstExitCode(runs.map(({ verdict }) => verdict.outcome)) };
}

/** Writes the page of many runs, and prints what did not hold. */
function writeMatrix(runs: readonly MatrixRun[], title: string, folder: string): void {
  const cells = cellsOf(runs);
  mkdirSync(folder, { recursive: true });
  const page = join(resolve(folder), 'matrix.html');
  writeFileSync(page, matrixPage(cells, title), { mode: 0o600 });
  for (const { cause, diskClass, fault, repeats } of cells)
    for (const { verdict } of repeats.filter((one) => one.verdict.outcome !== 'held').slice(0, 1))
      console.log(visible(`${verdict.outcome}: ${cause}, ${diskClass}, ${fault}: ${verdict.because}`));
  const outcomes = outcomesText(runs.map(({ verdict }) => verdict.outcome));
  console.log(`${runs.length} runs in ${cells.length} cells: ${outcomes}\n${page}`);
}

async function playMany(
  { path, experiment, target }: Pick<OneRun, 'path' | 'experiment' | 'target'>,
  count: string,
  { signal }: Scope,
): Promise<{ readonly exitCode: number }> {
  if (!/^[1-9]\d{0,5}$/.test(count)) throw new BadInput(`--histories must be 1 to 999999, not "${count}".`);
  if (target !== 'simulated') throw new BadInput('--histories needs --target simulated: only there is time virtual.');
  const problems = simulatedTarget(experiment.seed).refuse(experiment);
  if (problems.length > 0) return refused(problemLines(path, problems));
  const fromMs = systemClock.monotonicMs();
  const played = await playHistories({
    experiment,
    seed: experiment.seed,
    histories: Number(count),
    workers: 2,
    signal,
    say: console.log,
    elapsedMs: () => systemClock.monotonicMs() - fromMs,
  });
  for (const line of historiesLines(played)) console.log(visible(line));
  return { exitCode: historiesExitCode(played) };
}

function refused(lines: readonly string[]): { readonly exitCode: number } {
  for (const line of lines) console.error(visible(line));
  return { exitCode: badInput };
}

interface OneRun {
  readonly path: string;
  readonly text: string;
  readonly experiment: Experiment;
  readonly target: Target['name'];
  /** For the target kubernetes. */
  readonly cluster: ClusterPlace;
  /** The folder for the evidence. If undefined, it is in the data folder and is removed if the experiment held. */
  readonly folder: string | undefined;
  /** The private key that signs the evidence. */
  readonly sign: Buffer | undefined;
}

async function runOnce(one: OneRun, scope: Scope): Promise<Verdict | { readonly exitCode: number }> {
  const { path, text, experiment } = one;
  const data = dataRoot(process.env);
  const unique = idOf(path);
  const folder = one.folder ?? join(data, 'experiments', unique);
  // The same seed gives the same evidence, byte for byte.
  const id = one.target === 'simulated' ? `simulated-${experiment.seed}` : unique;
  const fromMs = systemClock.monotonicMs();
  const say = (line: string): void =>
    console.log(visible(`${((systemClock.monotonicMs() - fromMs) / 1_000).toFixed(1).padStart(6)} s  ${line}`));
  let spans: SpanStore | undefined;
  const takeSpans = (store: SpanStore): void => {
    spans = store;
  };
  const { target, place } = targetOf(one, data, { id: unique, say, takeSpans });
  const problems = target.refuse(experiment);
  if (problems.length > 0) return refused(problemLines(path, problems));
  if (one.target === 'kubernetes') await requireCluster(one.cluster);
  const there = (await target.refuseThere?.(experiment)) ?? [];
  if (there.length > 0) return refused(problemLines(path, there));
  const unfit = await unfitMachines(text, experiment, target);
  if (unfit.length > 0) return refused(problemLines(path, unfit));
  console.log(`${visibleInLine(experiment.title)}\n`);
  const interrupt = new AbortController();
  const { signal } = interrupt;
  const signWith = one.sign === undefined ? {} : { signWith: one.sign };
  const running = runFile({
    ...{ experiment, text, id, folder, place, target, signal, say },
    ...signWith,
    ...(one.target === 'existing' && { shownIn: data }),
    spans: () => spans,
  });
  // Ctrl-C: everything is undone, and the evidence written, before the process ends.
  scope.defer('experiment', async () => {
    interrupt.abort();
    await running;
  });
  const { verdict } = await running;
  console.log(visible(`\n${verdictLines(verdict).join('\n')}`));
  if (one.folder === undefined && verdict.outcome === 'held') rmSync(folder, { recursive: true });
  else console.log(`\nevidence and report.html: ${folder}`);
  return verdict;
}

/** @throws BadInput if no cloud can be reached there */
async function requireCluster(place: ClusterPlace): Promise<void> {
  await requireCloudIn(place).catch((error: unknown) => {
    throw new BadInput(`--target kubernetes: ${error instanceof Error ? error.message : error}`, { cause: error });
  });
}

/** Problems of an experiment with existing machines that do not match it. */
async function unfitMachines(text: string, { estate }: Experiment, target: Target): Promise<readonly Problem[]> {
  if (estate.kind !== 'existing' || target.existing === undefined) return [];
  const { resourceGroup, line } = estate;
  try {
    const read = readExperiment(text, await target.existing(resourceGroup));
    return 'problems' in read ? read.problems : [];
  } catch (error) {
    const message = `the machines of the group ${resourceGroup} cannot be read: ${error instanceof Error ? error.message : error}`;
    return [
      { line, message, cure: 'Name a resource group with machines: interlock vm list --group <group> shows them.' },
    ];
  }
}

function targetOf(
  { target: name, experiment, cluster }: OneRun,
  data: string,
  parts: Parameters<typeof ownCloudTarget>[1],
): { readonly target: Target; readonly place: RunPlace } {
  if (name === 'simulated')
    return {
      target: simulatedTarget(experiment.seed),
      place: { target: name },
    };
  if (name === 'kubernetes')
    return { target: clusterTarget(cluster, parts), place: { target: name, cluster, runner: thisRunner() } };
  if (name === 'existing')
    return { target: existingCloudTarget(data, parts), place: { target: name, data, runner: thisRunner() } };
  // A short path, because the sockets of its servers are in it.
  const folder = mkdtempSync(join(tmpdir(), 'interlock-x-'));
  return { target: ownCloudTarget(folder, parts), place: { target: name, data: folder, runner: thisRunner() } };
}
