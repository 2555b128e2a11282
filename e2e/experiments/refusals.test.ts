import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { problemLines, readExperiment } from '@interlock/lab';
import { createScope } from '@interlock/runtime';
import { testKubectl } from '../../deploy/kubernetes/test-kubectl.ts';
import { experimentCommand } from './command.ts';
import { ownCloudTarget, settingsFor } from './local/own-cloud.ts';
import { simulatedTarget } from './simulated/target.ts';

const text = (machines: number): string => `title: a loss
estate:
  few: {machines: 1, disks: [premium-ssd], key: k1}
  many: {machines: ${machines}, disks: [premium-ssd], key: k2}
timeline: [{at: 1s, disable-key: few, for: 5s}]
`;

/** Runs commands in this process, which a process of each would load again. @param env variables for the time of the test */
const commandIn = (t: TestContext, env: Readonly<Record<string, string>>) => {
  for (const [name, value] of Object.entries(env)) {
    const former = process.env[name];
    process.env[name] = value;
    t.after(() => {
      if (former === undefined) delete process.env[name];
      else process.env[name] = former;
    });
  }
  const lines = { log: [] as string[], error: [] as string[] };
  for (const stream of ['log', 'error'] as const)
    t.mock.method(console, stream, (line: string) => void lines[stream].push(line));
  return async (...args: readonly string[]) => {
    for (const stream of Object.values(lines)) stream.length = 0;
    const scope = createScope();
    const { exitCode: status } = await experimentCommand(args, scope);
    await scope.close();
    return { status, stdout: lines.log.join('\n'), stderr: lines.error.join('\n') };
  };
};

test('a local target refuses an estate whose guests need more memory than the computer has', () => {
  const refuse = (machines: number) => {
    const read = readExperiment(text(machines));
    assert.ok('experiment' in read);
    return ownCloudTarget('', { id: '', say: () => undefined }).refuse(read.experiment);
  };
  assert.deepEqual(refuse(1), []);
  const [problem] = refuse(10_000);
  assert.equal(problem?.line, 4);
  assert.match(
    problem.message,
    /^the estate has 10001 machines, whose guests need 600060 MiB of memory, and this computer/,
  );
  assert.match(problem.cure, /^Plan at most \d+ machines, or use --target simulated\.$/);
});

test('a wrong option or file exits with 2, names the problem and starts nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-refusals-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'a.experiment.yaml');
  writeFileSync(file, text(1));
  const env = { INTERLOCK_DATA: join(folder, 'data'), KUBECONFIG: join(folder, 'no-kubeconfig') };
  const script = fileURLToPath(new URL('./main.ts', import.meta.url));
  const own = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const ended = spawnSync(process.execPath, [script, 'run', file, '--target=moon'], own);
  assert.match(ended.stderr, /^--target must be local, existing, kubernetes or simulated, not "moon"\.$/m);
  assert.equal(ended.status, 2);
  const run = commandIn(t, env);
  for (const [words, ...args] of [
    [/^--set must be a setting and its value, for example leaseTtl=30s, not "leaseTtl"$/, file, '--set=leaseTtl'],
    [/a\.experiment\.yaml:6: seed must be a whole number/, file, '--seed=abc'],
    [/a\.experiment\.yaml:1: no cloud runs on .*\. Start one with npm run up/, file, '--target=existing'],
    [/^--target kubernetes: kubectl.*(name a cluster with --kube-context|install it)/, file, '--target=kubernetes'],
    [
      /^--target kubernetes: kubectl.*(get-contexts lists|install it)/,
      file,
      '--target=kubernetes',
      '--kube-context=moon',
    ],
    [/^--keep must name a new or empty folder: .* has a\.experiment\.yaml\.$/, file, `--keep=${folder}`],
    [/^--keep: EEXIST/, file, `--keep=${file}`],
    [/none\.yaml does not exist\.$/, join(folder, 'none.yaml')],
  ] as const) {
    const { status, stderr: said } = await run('run', ...args);
    assert.match(said, words);
    assert.equal(status, 2, said);
  }
});

test('a file whose settings a cluster has otherwise exits with 2, names the line and changes nothing there', (t) => {
  const { folder, calls } = testKubectl([
    { when: 'get secret interlock-administrator', out: '' },
    { when: 'get configmap interlock-settings', out: '{"data":{"LEASE_TTL_MS":"60000"}}' },
    { when: 'get deployments,statefulsets', out: '{"items":[]}' },
  ]);
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'a.experiment.yaml');
  writeFileSync(file, `${text(1)}settings: {leaseTtl: 2s, authzTtl: 1s}\n`);
  const script = fileURLToPath(new URL('./main.ts', import.meta.url));
  const env = { ...process.env, INTERLOCK_DATA: join(folder, 'data'), PATH: folder };
  const { status, stderr } = spawnSync(process.execPath, [script, 'run', file, '--target=kubernetes'], {
    encoding: 'utf8',
    env,
  });
  assert.match(stderr, /a\.experiment\.yaml:6: the file needs LEASE_TTL_MS=2000, and the cluster has 60000\. Set it/);
  assert.equal(status, 2, stderr);
  const verbs = readFileSync(calls, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).args.split(' ')[2]);
  assert.deepEqual(new Set(verbs), new Set(['get']));
});

test("the run's own cloud accepts keys without purge protection if the timeline purges a key", () => {
  const settingsOf = (step: string) => {
    const read = readExperiment(text(1).replace('disable-key: few, for: 5s', step));
    assert.ok('experiment' in read);
    return settingsFor(read.experiment);
  };
  assert.deepEqual(settingsOf('purge-key: few, leave: true'), { REQUIRE_PURGE_PROTECTION: 'false' });
  assert.deepEqual(settingsOf('delete-key: few, leave: true'), {});
});

test("only the run's own cloud can shift the clock since boot", () => {
  const read = readExperiment(text(1).replace('disable-key: few, for: 5s', 'shift-clock: disk, by: 1h, clock: boot'));
  assert.ok('experiment' in read, 'problems' in read ? problemLines('', read.problems).join() : '');
  const { experiment } = read;
  assert.deepEqual(ownCloudTarget('', { id: '', say: () => undefined }).refuse(experiment), []);
  const [problem] = simulatedTarget(1).refuse(experiment);
  assert.deepEqual([problem?.line, problem?.message], [5, 'no machine of the simulation is suspended']);
});

test('validate with a target names what that target cannot do, and starts nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-validate-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'a.experiment.yaml');
  writeFileSync(file, text(1).replace('[{at', '[{at: 0s, slow: nats, by: 100ms, for: 5s}, {at'));
  const run = commandIn(t, { INTERLOCK_DATA: join(folder, 'data') });
  const simulated = await run('validate', file, '--target=simulated');
  assert.equal(simulated.status, 2);
  assert.match(simulated.stderr, /a\.experiment\.yaml:5: the simulation cannot do slow to nats/);
  const local = await run('validate', file, '--target=local');
  assert.equal(local.status, 0, local.stderr);
  assert.match(local.stdout, /valid on the target local/);
});
