import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Hunt } from './hunting.ts';
import { mutants } from './mutants.ts';
import { occurrences, root } from './patching.ts';

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

/** Plays a planted bug from seed 1 on. @throws when the bug ends the process, for example because its code no longer fits */
const play = (number: number, limitHistories: number): Hunt => {
  const script = join(root, 'e2e/simulation/mutants/play-mutant.ts');
  const options = [script, String(number), '1', 'Infinity', String(limitHistories)];
  const lines = execFileSync(process.execPath, options, { encoding: 'utf8' }).trim().split('\n');
  return JSON.parse(lines.at(-1) ?? '');
};

for (const [number, { name }] of mutants.entries()) {
  test(`a history runs with a planted bug: ${name}`, () => {
    assert.equal(play(number, 1).histories, 1);
  });
}

test('G1: the simulation finds the planted bug that skips the check of the lease', () => {
  const hunt = play(0, 60);
  assert.ok(hunt.isFound, `not found in ${hunt.histories} histories`);
});
