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

test('one token an audience, asked for once', async () => {
  const { tokens, issued } = source();
  assert.deepEqual(await Promise.all([tokens.token('a'), tokens.token('a'), tokens.token('b')]), ['a#1', 'a#1', 'b#2']);
  assert.equal(await tokens.token('a'), 'a#1');
  assert.deepEqual(issued, ['a', 'b']);
});

test('late in its life a token serves on while the next is fetched', async () => {
  const { tokens, clock, issued } = source();
  await tokens.token('a');
  clock.advance(LIFE_MS * 0.7);
  assert.equal(await tokens.token('a'), 'a#1');
  while (issued.length < 2) await new Promise(setImmediate);
  assert.equal(await tokens.token('a'), 'a#2');
});

test('a token that could expire on its way is not returned', async () => {
  const { tokens, clock, issued } = source();
  await tokens.token('a');
  clock.advance(LIFE_MS - 5_001);
  assert.equal(await tokens.token('a'), 'a#1');
  assert.equal(issued.length, 2, 'the next is asked for beside it');
  const { tokens: idle, clock: later } = source();
  await idle.token('a');
  later.advance(LIFE_MS - 5_000);
  assert.equal(await idle.token('a'), 'a#2');
});

test('a token of a second is asked for once in its life, and no call waits for the next one', async () => {
  const { tokens, clock, issued } = source(1_000);
  await tokens.token('a');
  for (let call = 0; call < 100; call += 1) {
    clock.advance(100);
    const known = issued.length;
    const number = Number((await tokens.token('a')).slice('a#'.length));
    assert.ok(number <= known, `call ${call} waited for token ${number}`);
    // The renewal beside the call gets its turn.
    await new Promise(setImmediate);
  }
  assert.ok(issued.length <= 15, `${issued.length} tokens in ten lives`);
});

test('an early renewal that fails costs nothing; at the end of the token it does', async () => {
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

test('a refused token is replaced, a token refused late is not', async () => {
  const { tokens } = source();
  tokens.refused('a', await tokens.token('a'));
  assert.equal(await tokens.token('a'), 'a#2');
  tokens.refused('a', 'a#1');
  assert.equal(await tokens.token('a'), 'a#2');
});
