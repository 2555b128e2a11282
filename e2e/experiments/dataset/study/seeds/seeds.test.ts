import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import { experimentOf } from './experiment-of.ts';
import type { SeedRow } from './measure-seed.ts';
import { seedTable, shortfalls } from './table.ts';

const good: SeedRow = {
  ...{ seed: 1, kills: 0, events: 200, edges: 180, spans: 5_000, orphans: 0, unexplained: [] },
  ...{ causeRecall: 1, causePrecision: 1, causeFaults: [], spanRecall: 1 },
  ...{ labelPrecision: 1, blindPrecision: 0.5, blindRecall: 1 },
  ...{ deviations: [], outcome: 'held' },
};

test('each seed gives a valid experiment, the same each time; kills do not change the other steps', () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const [without, withKills] = [experimentOf(seed, false), experimentOf(seed, true)];
    for (const text of [without, withKills]) assert.ok('experiment' in readExperiment(text), text);
    assert.equal(experimentOf(seed, true), withKills);
    const steps = (text: string): readonly string[] =>
      text.split('\n').filter((line) => line.includes('at:') && !line.includes('kill:'));
    assert.deepEqual(steps(without), steps(withKills));
    assert.equal(withKills.match(/kill:/g)?.length, 3);
  }
});

test('each limit alone fails a run; kills lower the limit of span recall', () => {
  assert.deepEqual(shortfalls(good), []);
  const short: readonly Partial<SeedRow>[] = [
    { causeRecall: 0.999 },
    { causePrecision: 0.999 },
    { spanRecall: 0.99 },
    { kills: 3, spanRecall: 0.96 },
    { labelPrecision: 0.999 },
    { orphans: 6 },
    { orphans: 1, unexplained: ['compute x'] },
    { deviations: ['RPC server: x'] },
  ];
  for (const part of short) assert.equal(shortfalls({ ...good, ...part }).length, 1, JSON.stringify(part));
  assert.deepEqual(shortfalls({ ...good, kills: 3, spanRecall: 0.98 }), []);
});

test('the table lists runs without kills first', () => {
  const rows = seedTable([{ ...good, seed: 2, kills: 3 }, { ...good, seed: 3 }, good])
    .split('\n')
    .slice(2);
  assert.deepEqual(
    rows.map((row) => row.split(' | ').slice(0, 2).join(' ')),
    ['| 1 0', '| 3 0', '| 2 3'],
  );
});
