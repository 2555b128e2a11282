import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '../file/read-experiment.ts';
import { search } from './search.ts';
import { playing, searchable } from './test-search.ts';

const { experiment, trials, choices } = searchable();
const common = { experiment, trials, choices, isOver: () => false };

test('the same seed searches the same timelines, and the first one is that of the file', async () => {
  const seen = async (seed: number): Promise<readonly string[]> => {
    const texts: string[] = [];
    const play = playing(() => ({}));
    await search({
      ...{ ...common, seed, histories: 40 },
      play: (all) => {
        texts.push(...all.map(({ text }) => text));
        return play(all);
      },
    });
    return texts;
  };
  const first = await seen(5);
  assert.deepEqual(await seen(5), first);
  assert.notDeepEqual(await seen(6), first);
  assert.match(first[0] ?? '', /timeline:\n {2}- \{ at: 1s, disable-key: k1, as: loss, for: 8s \}\n/);
});

test('every timeline of a search is a valid file, within its limits, that leaves controls alone', async () => {
  const limited = searchable(`search:
  steps: 3
  within: 5s
  actions:
    - { disable-key: any, at: [1s, 2s], for: [100ms, 3s] }
    - { cut: [disk, nats, compute] }
    - { slow: [disk], by: [1s, 2s] }
    - { restart: any }
`);
  const texts: string[] = [];
  const play = playing(() => ({}));
  const all = { ...limited, isOver: () => false, seed: 1, histories: 200 };
  await search({
    ...all,
    play: (some) => {
      texts.push(...some.slice(texts.length === 0 ? 1 : 0).map(({ text }) => text));
      return play(some);
    },
  });
  assert.equal(texts.length, 199);
  for (const text of texts) {
    const read = readExperiment(text);
    assert.ok('experiment' in read, text);
    const steps = read.experiment.timeline.filter(({ action }) => action !== 'give-back');
    assert.ok(steps.length >= 1 && steps.length <= 3, text);
    for (const { action, targets, atMs, options } of steps) {
      assert.ok(['disable-key', 'cut', 'slow', 'restart'].includes(action), text);
      assert.ok(atMs <= 5_000 && !targets.includes('other'), text);
      if (action === 'disable-key') assert.ok(atMs >= 1_000 && atMs <= 2_000, text);
      if (action === 'slow') assert.ok(Number(options.by) >= 1_000 && Number(options.by) <= 2_000, text);
    }
  }
});

test('a trial keeps the expectations that its timeline concerns, and no others', () => {
  const restart = { action: 'restart', targets: ['disk'], atMs: 0, start: false, options: {} } as const;
  assert.match(trials.trialOf({ moves: [restart], seed: 3 }).text, /expect:\n {2}- bytesLost == 0\n$/);
  const loss = { ...restart, name: 'loss', action: 'disable-key', targets: ['k1'], forMs: 9_000 } as const;
  const { text } = trials.trialOf({ moves: [loss], seed: 3 });
  assert.match(text, /expect:\n {2}- premium.lastGoodWrite <= loss \+ 5s\n {2}- bytesLost == 0\n$/);
});

test('a search ends when it is over, and has the results until then', async () => {
  let histories = 0;
  const play = playing(() => {
    histories += 1;
    return { closeness: { near: histories / 100 } };
  });
  const result = await search({ ...common, play, seed: 1, histories: 1_000, isOver: () => histories >= 20 });
  assert.deepEqual(result, { histories: 20, closest: { limit: 'near', used: 0.2 } });
});
