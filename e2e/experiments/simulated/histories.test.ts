import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Experiment } from '@interlock/lab';
import { type Histories, historiesExitCode, historiesLines, playHistories } from './histories.ts';
import { experimentOf } from './test-runs.ts';

const play = (experiment: Experiment, workers: number, histories = 2): Promise<Histories> =>
  playHistories({
    experiment,
    seed: 1,
    histories,
    workers,
    signal: new AbortController().signal,
    say: () => undefined,
    elapsedMs: () => 0,
  });

const lossWithoutEvents = experimentOf([
  'at: 0s, kill: nats, for: 6s',
  'at: 1s, disable-key: premium, as: loss',
  'at: 8s, give-back: loss, start: true',
]);

test('the result of histories depends on their seeds, not on the number of processes that run them', async () => {
  const one = await play(lossWithoutEvents, 1);
  assert.deepEqual(await play(lossWithoutEvents, 2), one);
  assert.deepEqual([one.played, one.outcomes, one.broken], [2, { held: 2 }, []]);
  const [premium, ultra, second] = one.groups;
  assert.deepEqual([premium?.machines, premium?.stopped.count, premium?.back.count], [2, 2, 2]);
  // Without events only the renewal of the lease finds the loss. When it comes differs between histories.
  assert.ok((premium?.stopped.max ?? 0) > (premium?.stopped.p50 ?? Number.NaN));
  assert.deepEqual([ultra?.stopped.count, second?.stopped.count], [0, 0]);
  assert.equal(historiesExitCode(one), 0);
});

test('a broken rule is reported with the seeds of its histories', async () => {
  const { expect } = experimentOf(['at: 0s, disable-key: premium, for: 5s'], '  - premium.stopped <= 1ms\n');
  const histories = await play({ ...lossWithoutEvents, expect }, 1, 2);
  assert.deepEqual(histories.outcomes, { violated: 2 });
  assert.deepEqual(
    histories.broken.map(({ text, result, seeds }) => [text, result, seeds]),
    [['premium.stopped <= 1ms', 'violated', [1, 2]]],
  );
  assert.equal(histories.first?.seed, 1);
  assert.equal(historiesExitCode(histories), 1);
  const lines = historiesLines(histories);
  assert.equal(lines[0], '2 histories: 2 violated');
  assert.ok(lines.some((line) => /^ {2}stopped +\d+\.\d\d s +\d+\.\d\d s +\d+\.\d\d s +\d+\.\d\d s$/.test(line)));
  assert.ok(lines.some((line) => line.startsWith('violated in 2 of 2: premium.stopped <= 1ms')));
});
