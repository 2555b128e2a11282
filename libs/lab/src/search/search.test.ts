import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '../file/read-experiment.ts';
import type { Candidate, Played } from './candidate.ts';
import { search } from './search.ts';
import { moveOf, playing, searchable } from './test-search.ts';

const { experiment, trials, choices } = searchable();
const common = { experiment, trials, choices, isOver: () => false };

/** A needle in stages: each of three actions comes closer to a limit only beside those before it, and so do two of them the nearer they are. */
const needle = ({ moves }: Candidate): Partial<Played> => {
  const kill = moves.find(({ action, targets }) => action === 'kill' && targets[0] === 'nats');
  const rotate = kill && moveOf(moves, 'rotate-key');
  const snapshot = rotate && moveOf(moves, 'snapshot');
  const apartMs = kill && rotate ? Math.abs(kill.atMs - rotate.atMs) : 20_000;
  const stages = [kill, rotate, snapshot].filter((one) => one !== undefined);
  return {
    closeness: { 'any.near': stages.length / 4 + 0.2 * (1 - apartMs / 20_000) },
    ...(snapshot && apartMs <= 50 && { outcome: 'violated' as const, violated: ['G7'] }),
  };
};

test('a guided search finds with each of eight seeds what a random one rarely finds in as many histories', async () => {
  const found = { guided: 0, random: 0 };
  // The needle reads moves only, so no files are needed.
  const asMoves = { trialOf: (candidate: Candidate) => ({ ...candidate, text: '' }) };
  for (let seed = 1; seed <= 8; seed += 1)
    for (const mode of ['guided', 'random'] as const) {
      const play = playing(needle);
      const result = await search({
        ...common,
        trials: asMoves,
        play,
        seed,
        histories: 1_000,
        isGuided: mode === 'guided',
      });
      if (result.found !== undefined) found[mode] += 1;
    }
  assert.equal(found.guided, 8);
  assert.ok(found.random <= 2, `${found.random} of 8`);
});

test('the same seed searches the same timelines, and the first one is that of the file', async () => {
  const seen = async (seed: number): Promise<readonly string[]> => {
    const texts: string[] = [];
    const play = playing((candidate) => needle(candidate));
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
