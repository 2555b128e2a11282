import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import type { Scope } from '@interlock/runtime';
import { runCommand } from '../command.ts';
import { type DataFolder, dataRoot, LauncherError, openDataFolder, repository } from '../data-folder.ts';
import { startGuarded } from '../guarded-process.ts';
import { startNats } from '../nats.ts';
import { startPostgres } from '../postgres.ts';
import { kubectl } from '../programs.ts';
import { installProgram } from '../system-program.ts';
import { rerunFailed } from './flaky.ts';
import { readRequest, selectTests } from './selection.ts';
import { bundleServices } from './service-bundles.ts';
import type { FileTime, Summary } from './summary-reporter.ts';
import { openTestRunData } from './test-run-data.ts';
import { longestOf, readTimes, timesTable } from './times.ts';
import { groupUnits, nameOfGroup, shownFile, type UnitGroup } from './unit-groups.ts';

/** Checks in addition to the tests; each counts as one. */
const checks = [
  { name: 'type check', command: 'tsc', args: ['--noEmit'], cwd: repository },
  {
    name: 'type check of the live page',
    command: 'tsc',
    args: ['--noEmit', '-p', 'services/cli/page'],
    cwd: repository,
  },
  { name: 'lint and format', command: 'biome', args: ['check', '.'], cwd: repository },
  { name: 'proto lint', command: 'buf', args: ['lint'], cwd: join(repository, 'proto') },
];

/**
 * `npm test [-- <glob>… --test-option…]`: runs every test but the long ones, or only the matching test files; `--all` runs all, and
 * `--changed` those of what changed since main. Servers start if a test uses them. A failed file runs once more, alone; one that
 * passes then is listed as FLAKY and counts as passed. The last line is `N passed, N failed`.
 */
runCommand(async (scope) => {
  const request = readRequest(process.argv.slice(2));
  // npm runs scripts in the root, but a glob is relative to the user's folder.
  const selection = selectTests(request, repository, process.env.INIT_CWD ?? process.cwd());
  if (selection.description !== undefined) console.log(selection.description);
  const { files } = selection;
  // Only for this run: tests may run at the same time as a cloud or as other tests.
  const { data, temporary, remove } = openTestRunData(openDataFolder(dataRoot(process.env)).folder('tests'), tmpdir());
  scope.defer('test data', remove);
  const env = { ...process.env, PATH: `${join(repository, 'node_modules/.bin')}:${process.env.PATH}` };

  await provideKubectl(files, env);
  const servers = selection.needsServers ? startServers(scope, data) : Promise.resolve({});
  const bundles = selection.startsServices ? makeBundles() : Promise.resolve({});
  // The checks run while the servers start. A failure of these two is reported where they are awaited.
  servers.catch(() => undefined);
  bundles.catch(() => undefined);
  const results = request.globs.length === 0 ? await runChecks(env, data) : [];
  const timesFile = data.path('processor-times.jsonl');
  // A file that is named runs alone, so that a test that depends on another file can be found.
  const { alone, groups } =
    request.globs.length === 0 ? groupUnits(files, repository, data.folder('units')) : { alone: files, groups: [] };
  const run = testRunner({
    scope,
    groups,
    summaryFile: data.path('summary.json'),
    timesFile,
    options: request.nodeOptions,
    env: { ...env, ...(await servers), ...(await bundles), TMPDIR: temporary },
  });
  const first = files.length === 0 ? noTests : await run([...alone, ...groups.map(({ entry }) => entry)]);
  const processorTimes = readTimes(timesFile, (path) => shownFile(path, groups, repository)).filter(({ file }) =>
    first.files.some((ran) => ran.file === file),
  );
  const outcome = await rerunFailed(first, (file) => {
    console.log(`Running again, alone: ${file}`);
    // A group that broke as a whole runs again as single files.
    return run(groups.find((group) => nameOfGroup(group) === file)?.files ?? [file]);
  });
  results.push(outcome);
  if (files.length > 10) reportTimes(processorTimes, first.files);
  // Repeated at the end, because the output before it may be from an hour.
  for (const flaky of outcome.flaky) console.log(`FLAKY: ${flaky}`);
  for (const failure of outcome.failures) console.log(`FAILED: ${failure}`);

  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  return { exitCode: failed === 0 ? 0 : 1, lastLine: `${passed} passed, ${failed} failed` };
});

/** Prints the heaviest files, and keeps the times of all until the next run. */
const reportTimes = (processorTimes: readonly FileTime[], elapsed: readonly FileTime[]): void => {
  console.log(`Slowest files:\n${longestOf(elapsed)}`);
  const seconds = processorTimes.reduce((sum, { ms }) => sum + ms, 0) / 1_000;
  console.log(`Most processor time, of ${seconds.toFixed(0)} s without the servers:\n${longestOf(processorTimes)}`);
  const table = join(dataRoot(process.env), 'test-times.jsonl');
  writeFileSync(table, timesTable(processorTimes, elapsed));
  console.log(`Each file: ${relative(process.cwd(), table)}`);
};

/**
 * Files that start services wait a third of their time: with one file for each core, a quarter of two cores was idle, and with one more
 * an eighth.
 */
const filesAtOnce = availableParallelism() + 2;

/** The result where no test file was selected: nothing changed that a test loads. */
const noTests: Summary = { passed: 0, failed: 0, failures: [], files: [] };

/** Makes a function that runs test files with the servers of this run, one run after the other. */
function testRunner(parts: {
  readonly scope: Scope;
  readonly groups: readonly UnitGroup[];
  readonly summaryFile: string;
  /** Each test file appends its processor time. */
  readonly timesFile: string;
  readonly options: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}): (files: readonly string[]) => Promise<Summary> {
  const { scope, groups, summaryFile, timesFile, options, env } = parts;
  return async (files) => {
    const tests = await startGuarded({
      command: process.execPath,
      args: [
        '--test',
        `--test-concurrency=${filesAtOnce}`,
        '--test-timeout=300000',
        // The first one: what it changes, `node:test` takes when another one loads it.
        `--import=${import.meta.resolve('./untracked-promises.ts')}`,
        `--import=${import.meta.resolve('./test-file-limit.ts')}?minutes=15`,
        `--import=${import.meta.resolve('./processor-time.ts')}?to=${encodeURIComponent(timesFile)}`,
        '--test-reporter=spec',
        '--test-reporter-destination=stdout',
        `--test-reporter=${join(import.meta.dirname, 'summary-reporter.ts')}`,
        `--test-reporter-destination=${summaryFile}`,
        ...options,
        ...files,
      ],
      env,
      cwd: repository,
      output: 'terminal',
      stopSignal: 'INT',
      graceMs: 5_000,
    });
    scope.defer('tests', () => tests.stop());
    const { status } = await tests.exited;
    return readSummary(summaryFile, status, groups);
  };
}

interface Result {
  readonly passed: number;
  readonly failed: number;
}

/** For tests that render manifests. If kubectl cannot be installed, these fail and name it; the others run. */
async function provideKubectl(files: readonly string[], env: Readonly<Record<string, string | undefined>>) {
  const isNeeded = files.some((file) => file.startsWith('e2e/kubernetes/'));
  const isThere = (env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, kubectl.name)));
  if (!isNeeded || isThere) return;
  await installProgram(kubectl, env, console.error).catch((error: unknown) => {
    if (!(error instanceof LauncherError)) throw error;
    console.error(error.message);
  });
}

/** The two servers of the run. @returns the variables that tell tests their addresses */
async function startServers(scope: Scope, data: DataFolder): Promise<Record<'DATABASE_URL' | 'NATS_URL', string>> {
  const [postgres, nats] = await Promise.all([
    // No test takes power away from this server, and without fsync none waits for the disk of the machine. What `kill -9` of a server
    // may lose is the same, and the tests that try it start their own.
    startPostgres(data, process.env, {}, { fsync: 'off' }).then((started) => {
      scope.defer('Postgres', started.stop);
      return started;
    }),
    startNats({ data, env: process.env, say: console.log }).then((started) => {
      scope.defer('NATS', started.stop);
      return started;
    }),
  ]);
  console.log(`${postgres.description}\n${nats.description}`);
  return {
    DATABASE_URL: process.env.DATABASE_URL ?? postgres.url('postgres'),
    NATS_URL: nats.access.servers.join(','),
  };
}

/** Bundles of the services. Not of this run: the next one uses what has not changed. @returns the variable with their folder */
async function makeBundles(): Promise<Record<'INTERLOCK_BUNDLES', string>> {
  const folder = join(dataRoot(process.env), 'bundles');
  await bundleServices(folder, repository);
  return { INTERLOCK_BUNDLES: folder };
}

/** One line each, with the output of failed checks only. */
async function runChecks(env: NodeJS.ProcessEnv, data: DataFolder): Promise<Result[]> {
  const results: Result[] = [];
  for (const { name, command, args, cwd } of checks) {
    const output = data.path(`${command}.out`);
    const since = performance.now();
    const check = await startGuarded({ command, args, env, cwd, output, stopSignal: 'TERM', graceMs: 2_000 });
    const { status } = await check.exited;
    const seconds = ((performance.now() - since) / 1000).toFixed(1);
    console.log(`${status === 0 ? 'passed' : 'FAILED'}: ${name} (${seconds} s)`);
    if (status !== 0) console.log(readFileSync(output, 'utf8'));
    results.push(status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });
  }
  return results;
}

/**
 * The result of a run, with files as paths from the root. A run that failed without a failed test (it was killed, or the
 * runner itself broke) counts as one failure.
 */
function readSummary(file: string, status: number, groups: readonly UnitGroup[]): Summary {
  const text = readFileSync(file, 'utf8');
  const read = text === '' ? noTests : (JSON.parse(text) as Summary);
  if (status !== 0 && read.failed === 0) {
    const reason = `ended with ${status}`;
    return {
      ...read,
      failed: 1,
      failures: [{ name: 'the run of the tests', file: undefined, definedIn: undefined, reason }],
    };
  }
  const failures = read.failures.map((failure) => {
    const isGrouped = groups.some(({ entry }) => entry === failure.file);
    const isOfUnit = isGrouped && failure.definedIn?.endsWith('.test.ts');
    const ran = isOfUnit ? failure.definedIn : failure.file;
    return { ...failure, file: ran === undefined ? undefined : shownFile(ran, groups, repository) };
  });
  const files = read.files.map(({ file, ms }) => ({ file: shownFile(file, groups, repository), ms }));
  return { ...read, failures, files };
}
