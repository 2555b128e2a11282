import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedPauses } from './pauses.ts';

const at = (machine: string, ...times: readonly number[]) => times.map((completedMs) => ({ machine, completedMs }));

test('a pause that several machines share is shown', () => {
  const good = [...at('a', 0, 100, 200, 1_200, 1_300), ...at('b', 50, 150, 1_250)];
  assert.deepEqual(sharedPauses(good), [[200, 1_200]]);
});

test('gaps of a machine that works alone are no pause, nor is the time before the others are back', () => {
  const alone = at('control', 0, 500, 1_000, 1_500, 5_000);
  assert.deepEqual(sharedPauses(alone), []);
  assert.deepEqual(sharedPauses([...alone, ...at('off', 0, 100, 4_990, 5_050)]), []);
});

test('short pauses do not count', () => {
  const good = [...at('a', 0, 200, 400), ...at('b', 0, 200, 400)];
  assert.deepEqual(sharedPauses(good), []);
  assert.deepEqual(sharedPauses(good, 100).length, 2);
});
