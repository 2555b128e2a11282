import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SearchedMutant } from '../mutants/search-mutant.ts';

// A planted bug that a search must find. In `npm test`, search.test.ts finds and reduces a timeline that breaks an expectation, and
// mutants.test.ts finds a planted bug by its file.
test('G9: the search finds the planted bug that leaves refusals out of the audit log', () => {
  const script = fileURLToPath(new URL('../mutants/search-mutant.ts', import.meta.url));
  const output = execFileSync(process.execPath, [script, '20', '1', '20', '20'], { encoding: 'utf8' });
  const { isFound, steps, rule }: SearchedMutant = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  assert.deepEqual([isFound, rule], [true, 'G9']);
  assert.ok(steps <= 2, `${steps} steps`);
});
