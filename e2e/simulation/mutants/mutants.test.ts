import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mutants } from './mutants.ts';
import { occurrences, root } from './patching.ts';
import { play } from './test-play.ts';

test('there are at least twenty planted bugs with unique names', () => {
  assert.ok(mutants.length >= 20);
  assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
});

for (const { name, file, find, replace } of mutants) {
  test(`the source still has the text that a planted bug replaces: ${name}`, () => {
    const source = readFileSync(join(root, file), 'utf8');
    assert.equal(occurrences(source, find), 1, `${file} must hold the text to be replaced exactly once`);
    assert.notEqual(find, replace);
  });
}

test('G1: the simulation finds the planted bug that skips the check of the lease', () => {
  // The first seed finds it: from 1 on, 24 histories would be played without a violation. After a change another one may find it.
  const hunt = play(0, 60, 32);
  assert.ok(hunt.isFound, `not found in ${hunt.histories} histories`);
});
