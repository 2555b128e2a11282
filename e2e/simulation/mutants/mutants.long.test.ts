import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mutants } from './mutants.ts';
import { play } from './test-play.ts';

// A process for each planted bug: 45 s of a processor. mutants.test.ts compares the texts that they replace, and finds one of them.
for (const [number, { name }] of mutants.entries()) {
  test(`a history runs with a planted bug: ${name}`, () => {
    assert.equal(play(number, 1).histories, 1);
  });
}
