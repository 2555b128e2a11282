import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type RunProgress, readExperiment } from '@interlock/lab';
import { readRunState } from '@interlock/lab/progress/state-file';
import { runFile, thisRunner } from './run-file.ts';
import { RunFollower } from './run-follower.ts';
import { simulatedTarget } from './simulated/target.ts';

const text = `title: "A key is disabled and given back"
estate:
  premium: { machines: 1, disks: [premium-ssd], key: k1 }
timeline:
  - { at: 1s, disable-key: premium, as: loss }
  - { at: 6s, give-back: loss, start: true }
proof: [{ of: loss, see: unwrap-refused, within: 5s }]
abort: ["premium.mismatches > 0"]
expect:
  - premium.stopped <= loss + 60s
  - premium.running
`;

const root = mkdtempSync(join(tmpdir(), 'interlock-follow-'));
after(() => rmSync(root, { recursive: true }));
const read = readExperiment(text);
const experiment = 'experiment' in read ? read.experiment : assert.fail(JSON.stringify(read.problems));

/** Runs the file in the simulation. @returns its outcome and what it printed */
const runWith = async (folder: string, shownIn: string) => {
  const said: string[] = [];
  const { signal } = new AbortController();
  const place = { target: 'simulated' } as const;
  const target = simulatedTarget(experiment.seed);
  const say = (line: string): void => void said.push(line);
  const { verdict } = await runFile({ experiment, text, id: 'r', folder, place, target, shownIn, signal, say });
  return { verdict, said };
};

test('after a run its state has the verdict, every step, and each expectation', async () => {
  const folder = join(root, 'run');
  const { verdict } = await runWith(folder, root);
  const state = readRunState(root) ?? assert.fail('no state');
  assert.equal(state.phase, 'ended');
  assert.deepEqual(state.verdict, { outcome: verdict.outcome, because: verdict.because });
  assert.equal(state.folder, folder);
  assert.deepEqual(
    state.steps.map(({ name, atMs, state: is }) => [name, atMs, is]),
    [
      ['loss', 1_000, 'done'],
      ['give-back-loss', 6_000, 'done'],
    ],
  );
  assert.deepEqual(
    state.expectations.map(({ text: expected, state: is }) => [expected, is]),
    [
      ['premium.stopped <= loss + 60s', 'holds'],
      ['premium.running', 'broken'],
    ],
  );
  assert.deepEqual(state.aborts, [{ text: 'premium.mismatches > 0', isMet: false }]);
  assert.deepEqual(state.runner, thisRunner());
});

test('a state that cannot be written is printed once, and changes no verdict', async () => {
  const shown = await runWith(join(root, 'one'), root);
  const { verdict, said } = await runWith(join(root, 'other'), join(root, 'missing'));
  assert.deepEqual(verdict, shown.verdict);
  assert.ok(said.some((line) => /^the live page does not show this run: ENOENT/.test(line)));
});

test('while a run continues its state follows, until it is closed', async () => {
  const record = { run: { id: 'r', target: 'existing', seed: 1, problems: [], versions: {} } } as const;
  const empty = { steps: [], machines: [], io: [], sightings: [], guarantees: [] };
  const content = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
  let progress: RunProgress = { phase: 'set-up', record: { ...record, ...empty, content }, seenMs: undefined };
  const target = { name: 'existing' } as const;
  const parts = { experiment, id: 'r', folder: root, target, runner: thisRunner(), data: root, say: assert.fail };
  const follower = new RunFollower(parts);
  follower.follow(() => progress);
  const until = async (phase: string): Promise<void> => {
    while (readRunState(root)?.phase !== phase) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  await until('set-up');
  progress = { ...progress, phase: 'steady state' };
  await until('steady state');
  follower.close();
  progress = { ...progress, phase: 'undo' };
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.equal(readRunState(root)?.phase, 'steady state');
});
