import { existsSync, globSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative, resolve } from 'node:path';
import type { Scope } from '@interlock/runtime';
import { runCommand } from './command.ts';
import { type DataFolder, dataRoot, LauncherError, openDataFolder, repository } from './data-folder.ts';
import { rerunFailed } from './flaky.ts';
import { startGuarded } from './guarded-process.ts';
import { startNats } from './nats.ts';
import { startPostgres } from './postgres.ts';
import { kubectl } from './programs.ts';
import type { Summary } from './summary-reporter.ts';
import { installProgram } from './system-program.ts';
import { openTestRunData } from './test-run-data.ts';

/** Checks in addition to the tests; each counts as one. */
const checks = [
  { name: 'type check', command: 'tsc', args: ['--noEmit'], cwd: repository },
  { name: 'lint and format', command: 'biome', args: ['check', '.'], cwd: repository },
  { name: 'proto lint', command: 'buf', args: ['lint'], cwd: join(repository, 'proto') },
];

/**
 * `npm test [-- <glob>… --test-option…]`: runs everything, or only the matching test files. A failed file runs once more,
 * alone; one that passes then is listed as FLAKY and counts as passed. The last line is `N passed, N failed`.
 */
runCommand(async (scope) => {
  const args = process.argv.slice(2);
  const globs = args.filter((arg) => !arg.startsWith('--'));
  const files = testFiles(globs);
  // Only for this run: tests may run at the same time as a cloud or as other tests.
  const { data, temporary, remove } = openTestRunData(openDataFolder(dataRoot(process.env)).folder('tests'), tmpdir());
  scope.defer('test data', remove);
  const env = { ...process.env, PATH: `${join(repository, 'node_modules/.bin')}:${process.env.PATH}` };

  await provideKubectl(files, env);
  const servers = startServers(scope, data);
  // The checks run while the servers start. A failure of the servers is reported where they are awaited.
  servers.catch(() => undefined);
  const results = globs.length === 0 ? await runChecks(env, data) : [];
  const { databaseUrl, natsUrl } = await servers;
  const run = testRunner({
    scope,
    summaryFile: data.path('summary.json'),
    options: args.filter((arg) => arg.startsWith('--')),
    env: { ...env, DATABASE_URL: databaseUrl, NATS_URL: natsUrl, TMPDIR: temporary },
  });
  const outcome = await rerunFailed(await run(files), (file) => {
    console.log(`Running again, alone: ${file}`);
    return run([file]);
  });
  results.push(outcome);
  // Repeated at the end, because the output before it may be from an hour.
  for (const flaky of outcome.flaky) console.log(`FLAKY: ${flaky}`);
  for (const failure of outcome.failures) console.log(`FAILED: ${failure}`);

  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  return { exitCode: failed === 0 ? 0 : 1, lastLine: `${passed} passed, ${failed} failed` };
});

/** Makes a function that runs test files with the servers of this run, one run after the other. */
function testRunner(parts: {
  readonly scope: Scope;
  readonly summaryFile: string;
  readonly options: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}): (files: readonly string[]) => Promise<Summary> {
  const { scope, summaryFile, options, env } = parts;
  return async (files) => {
    const tests = await startGuarded({
      command: process.execPath,
      args: [
        '--test',
        // Two cores; each file starts services and waits more than it computes.
        '--test-concurrency=2',
        '--test-timeout=300000',
        `--import=${import.meta.resolve('./test-file-limit.ts')}?minutes=15`,
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
    return readSummary(summaryFile, status);
  };
}

interface Result {
  readonly passed: number;
  readonly failed: number;
}

/** Paths for `node --test`. Listed here because Node's own search follows the workspace links in node_modules. */
function testFiles(globs: readonly string[]): string[] {
  // npm runs scripts in the root, but a glob is relative to the user's folder.
  const from = globs.length === 0 ? repository : (process.env.INIT_CWD ?? process.cwd());
  const patterns = globs.length === 0 ? ['{libs,services,deploy,e2e,proto}/**/*.test.ts'] : [...globs];
  const exclude = (name: string) => name === 'node_modules' || name === '.interlock';
  const files = globSync(patterns, { cwd: from, exclude }).map((file) => relative(repository, resolve(from, file)));
  if (files.length === 0) throw new LauncherError(`No test file matches ${patterns.join(' ')} in ${from}.`);
  return files.sort();
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

async function startServers(scope: Scope, data: DataFolder): Promise<{ databaseUrl: string; natsUrl: string }> {
  const [postgres, nats] = await Promise.all([
    startPostgres(data, process.env).then((started) => {
      scope.defer('Postgres', started.stop);
      return started;
    }),
    startNats({ data, env: process.env, say: console.log }).then((started) => {
      scope.defer('NATS', started.stop);
      return started;
    }),
  ]);
  console.log(`${postgres.description}\n${nats.description}`);
  return { databaseUrl: process.env.DATABASE_URL ?? postgres.url('postgres'), natsUrl: nats.access.servers.join(',') };
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
function readSummary(file: string, status: number): Summary {
  const text = readFileSync(file, 'utf8');
  const read = text === '' ? { passed: 0, failed: 0, failures: [] } : (JSON.parse(text) as Summary);
  if (status !== 0 && read.failed === 0) {
    const reason = `ended with ${status}`;
    return { ...read, failed: 1, failures: [{ name: 'the run of the tests', file: undefined, reason }] };
  }
  const failures = read.failures.map((failure) => ({
    ...failure,
    file: failure.file === undefined ? undefined : relative(repository, failure.file),
  }));
  return { ...read, failures };
}
