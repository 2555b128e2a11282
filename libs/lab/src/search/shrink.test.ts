import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Candidate, Move, Played } from './candidate.ts';
import { shrink } from './shrink.ts';
import { moveOf, nothing, playing, searchable } from './test-search.ts';

const { trials } = searchable();
const move = (action: Move['action'], target: string, atMs: number, forMs?: number): Move => ({
  ...{ action, targets: [target], atMs, start: action === 'disable-key', options: {} },
  ...(forMs !== undefined && { forMs }),
});

/** A violation that needs a loss of at least 2,340 ms while nats is away. */
const judge = ({ moves }: Candidate): Partial<Played> => {
  const [loss, kill] = [moveOf(moves, 'disable-key'), moveOf(moves, 'kill')];
  const isBroken =
    loss?.forMs !== undefined &&
    kill?.forMs !== undefined &&
    loss.forMs >= 2_340 &&
    kill.targets[0] === 'nats' &&
    kill.atMs <= loss.atMs &&
    kill.atMs + kill.forMs >= loss.atMs;
  return isBroken ? { outcome: 'violated', violated: ['G2', 'G10'] } : {};
};

const large: Candidate = {
  moves: [
    move('kill', 'nats', 3_170, 5_280),
    move('pause', 'disk', 3_500, 2_000),
    move('snapshot', 'premium', 4_000),
    move('disable-key', 'k1', 4_360, 2_780),
    move('rotate-key', 'k2', 5_000),
    move('restart', 'compute', 6_000),
    move('slow', 'disk', 6_100, 700),
  ].map((one) => (one.action === 'slow' ? { ...one, options: { by: 200 } } : one)),
  seed: 12,
};
const found = { candidate: large, played: { ...nothing, ...judge(large) } };

test('a violation is made as small as it can be, always in the same way', async () => {
  const parts = { trials, play: playing(judge), histories: 500, isOver: () => false };
  const { candidate, histories } = await shrink(found, parts);
  const { text } = trials.trialOf(candidate);
  assert.match(
    text,
    /timeline:\n {2}- \{ at: 0ms, kill: nats, for: 10s \}\n {2}- \{ at: 0ms, disable-key: k1, as: loss-1, for: 10s \}\n/,
  );
  assert.equal(candidate.seed, large.seed);
  const again = await shrink(found, parts);
  assert.deepEqual([trials.trialOf(again.candidate).text, again.histories], [text, histories]);
});

test('a smaller timeline that breaks another rule is not taken', async () => {
  const play = playing((candidate) => {
    const isWhole = judge(candidate).outcome === 'violated' && moveOf(candidate.moves, 'rotate-key') !== undefined;
    return { outcome: 'violated', violated: isWhole ? ['G2'] : ['G9'] };
  });
  const { candidate, played } = await shrink(found, { trials, play, histories: 500, isOver: () => false });
  assert.deepEqual(candidate.moves.map(({ action }) => action).sort(), ['disable-key', 'kill', 'rotate-key']);
  assert.deepEqual(played.violated, ['G2']);
});

test('an interrupted shrink has the smallest violation so far', async () => {
  let count = 0;
  const isOver = (): boolean => {
    count += 1;
    return count > 3;
  };
  const parts = { trials, play: playing(judge), histories: 500, isOver };
  const { candidate, played } = await shrink(found, parts);
  assert.equal(played.outcome, 'violated');
  assert.equal(judge(candidate).outcome, 'violated');
});
