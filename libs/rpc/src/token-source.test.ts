import assert from 'node:assert/strict';
import { test } from 'node:test';
import { manualClock } from './test-clock.ts';
import { tokenSource } from './token-source.ts';

const LIFE_MS = 100_000;

function source(lifeMs = LIFE_MS) {
  const clock = manualClock();
  const issued: string[] = [];
  let isDown = false;
  const tokens = tokenSource({
    clock,
    issue: async (audience) => {
      if (isDown) throw new Error('identity is down');
      issued.push(audience);
      return { token: `${audience}#${issued.length}`, expireTime: clock.now() + lifeMs };
    },
  });
  return {
    tokens,
    clock,
    issued,
    setDown: (down: boolean) => {
      isDown = down;
    },
  };
}

test('concurrent callers share one token for each audience, which is issued once', async () => {
  const { tokens, issued } = source();
  assert.deepEqual(await Promise.all([tokens.token('a'), tokens.token('a'), tokens.token('b')]), ['a#1', 'a#1', 'b#2']);
  assert.equal(await tokens.token('a'), 'a#1');
  assert.deepEqual(issued, ['a', 'b']);
});

test('a token late in its life is returned while the next one is fetched', async () => {
  const { tokens, clock, issued } = source();
  await tokens.token('a');
  clock.advance(LIFE_MS * 0.7);
  assert.equal(await tokens.token('a'), 'a#1');
  while (issued.length < 2) await new Promise(setImmediate);
  assert.equal(await tokens.token('a'), 'a#2');
});

test('a token with less than 5 s left is not returned', async () => {
  const { tokens, clock, issued } = source();
  await tokens.token('a');
  clock.advance(LIFE_MS - 5_001);
  assert.equal(await tokens.token('a'), 'a#1');
  assert.equal(issued.length, 2, 'the next one is fetched in the background');
  const { tokens: idle, clock: later } = source();
  await idle.token('a');
  later.advance(LIFE_MS - 5_000);
  assert.equal(await idle.token('a'), 'a#2');
});

test('a token that lives one second is renewed about once a second, and no call waits for it', async () => {
  const { tokens, clock, issued } = source(1_000);
  await tokens.token('a');
  for (let call = 0; call < 100; call += 1) {
    clock.advance(100);
    const known = issued.length;
    const number = Number((await tokens.token('a')).slice('a#'.length));
    assert.ok(number <= known, `call ${call} waited for token ${number}`);
    // Lets the background renewal run.
    await new Promise(setImmediate);
  }
  assert.ok(issued.length <= 15, `${issued.length} tokens in ten lives`);
});

test('an early renewal that fails is ignored; after the token has expired the failure is thrown', async () => {
  const { tokens, clock, setDown } = source();
  await tokens.token('a');
  setDown(true);
  clock.advance(LIFE_MS * 0.8);
  assert.equal(await tokens.token('a'), 'a#1');
  clock.advance(LIFE_MS * 0.2);
  await assert.rejects(async () => tokens.token('a'), /identity is down/);
  setDown(false);
  assert.equal(await tokens.token('a'), 'a#2');
});

test('a refused token is replaced; the refusal of an older token changes nothing', async () => {
  const { tokens } = source();
  tokens.refused('a', await tokens.token('a'));
  assert.equal(await tokens.token('a'), 'a#2');
  tokens.refused('a', 'a#1');
  assert.equal(await tokens.token('a'), 'a#2');
});
