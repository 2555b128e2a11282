import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { makeRelease } from './test-release.ts';
import { type Action, experimentAction, readYaml, withInputs } from './workflows.ts';

// What a user does with the files of a release alone: in an empty folder, with npm and Node 24. Two to three minutes. In `npm test`,
// services/cli/src/bundle.test.ts runs the bundled command, and the other tests of this folder prove the parts of a release.

const folder = mkdtempSync(join(tmpdir(), 'interlock-from-release-'));
const place = join(folder, 'empty');
const home = join(folder, 'home');
const data = join(folder, 'data');
/** Postgres of npm is 140 MB, which only a machine without one needs. */
const hasPostgres = existsSync('/usr/lib/postgresql/17') || existsSync('/usr/lib/postgresql/18');
const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|INTERLOCK_|DATABASE_URL|NATS_URL|NODE_TEST)/.test(name)),
  ),
  ...{
    HOME: home,
    PATH: `${dirname(process.execPath)}:${process.env.PATH?.replace(/[^:]*node_modules\/\.bin:/g, '')}`,
  },
  ...(hasPostgres ? { npm_config_omit: 'optional' } : {}),
};
let archive: string;
let cloud: ChildProcess | undefined;

before(() => {
  const dist = join(folder, 'dist');
  const { version } = makeRelease(dist);
  archive = join(dist, `interlock-cli-${version}.tgz`);
  for (const one of [place, home]) mkdirSync(one);
  writeFileSync(join(place, 'package.json'), '{ "private": true }');
  copyFileSync(new URL('first.experiment.yaml', import.meta.url), join(place, 'first.experiment.yaml'));
});
after(() => {
  if (cloud?.exitCode === null && cloud.pid !== undefined) process.kill(-cloud.pid, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** Starts the installed command line with npx, in a process group of its own. */
const start = (...args: readonly string[]): ChildProcess =>
  spawn('npx', ['interlock', ...args], {
    cwd: place,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });

/** Runs the packed command line to its end. */
const run = async (...args: readonly string[]) => {
  const child = start(...args);
  const out: string[] = [];
  child.stdout?.on('data', (piece) => out.push(String(piece)));
  const [status] = await once(child, 'close');
  return { status, out: out.join('') };
};

const kept = (name: string) => ({
  verdict: JSON.parse(readFileSync(join(place, name, 'verdict.json'), 'utf8')),
  junit: readFileSync(join(place, name, 'junit.xml'), 'utf8'),
});

test('npm installs the packed command line in an empty folder, and it names version and commit', async () => {
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', archive], { cwd: place, env });
  const { status, out } = await run('--version');
  assert.equal(status, 0);
  assert.match(out, /^interlock \d+\.\d+\.\d+\S* \([0-9a-f]{12}(-dirty)?\)\n$/);
});

test('an experiment runs in virtual time, and leaves its report and JUnit results', async () => {
  const { status, out } = await run(
    'experiment',
    'run',
    'first.experiment.yaml',
    '--target',
    'simulated',
    '--keep',
    'simulated',
  );
  assert.equal(status, 0, out);
  assert.match(kept('simulated').junit, /<testsuite/);
  assert.match(readFileSync(join(place, 'simulated/report.html'), 'utf8'), /A key is disabled/);
});

test('a cloud starts, its live page opens only with the token, an experiment holds on it, and it stops', async () => {
  cloud = start('up', '--data', data);
  const address = await new Promise<string>((resolve, reject) => {
    const lines = createInterface({ input: cloud?.stdout ?? assert.fail() });
    lines.on('line', (line) => {
      const [url] = /http:\/\/127\.0\.0\.1:\d+\/[\w-]+\/$/.exec(line) ?? [];
      if (url !== undefined) resolve(url);
    });
    lines.once('close', () => reject(new Error('the cloud ended before its live page had an address')));
  });
  assert.equal((await fetch(address)).status, 200);
  assert.equal((await fetch(new URL('/', address))).status, 403);
  assert.equal((await fetch(new URL('/wrong-token/', address))).status, 403);
  const ran = await run(
    'experiment',
    'run',
    'first.experiment.yaml',
    '--target',
    'existing',
    '--data',
    data,
    '--keep',
    'existing',
  );
  assert.equal(ran.status, 0, ran.out);
  assert.equal(kept('existing').verdict.outcome, 'held');
  const ended = once(cloud, 'close');
  assert.equal((await run('down', '--data', data)).status, 0);
  await ended;
  await assert.rejects(fetch(address));
});

/** Plays the bash steps of the action as the runner does. @returns exit code, outputs and summary */
const playAction = async (given: Readonly<Record<string, string>>) => {
  const { inputs, runs } = readYaml<Action>(experimentAction);
  const defaults = Object.entries(inputs).map(([name, input]) => [name, input.default ?? '']);
  const values: Readonly<Record<string, string>> = { ...Object.fromEntries(defaults), package: archive, ...given };
  const temporary = mkdtempSync(join(folder, 'runner-'));
  const [output, summary] = [join(temporary, 'output'), join(temporary, 'summary')];
  let code = 0;
  for (const step of runs.steps.filter((one) => one.run !== undefined)) {
    const own = Object.fromEntries(
      Object.entries(step.env ?? {}).map(([name, text]) => [name, withInputs(text, values)]),
    );
    writeFileSync(join(temporary, 'step.sh'), step.run ?? '');
    const bash = spawn('bash', ['--noprofile', '--norc', '-eo', 'pipefail', join(temporary, 'step.sh')], {
      cwd: place,
      env: { ...env, ...own, RUNNER_TEMP: temporary, GITHUB_OUTPUT: output, GITHUB_STEP_SUMMARY: summary },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    [code] = await once(bash, 'close');
    if (code !== 0) break;
  }
  return { code, output: readFileSync(output, 'utf8'), summary: readFileSync(summary, 'utf8') };
};

test('the action for workflows keeps report and JUnit results, and has the outcome as an output', async () => {
  const { code, output, summary } = await playAction({ file: 'first.experiment.yaml', keep: 'of-action' });
  assert.deepEqual([code, output], [0, 'outcome=held\n']);
  assert.match(summary, /HELD/);
  assert.match(kept('of-action').junit, /<testsuite/);
});
