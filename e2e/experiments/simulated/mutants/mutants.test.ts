import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Hunt } from '../../../simulation/mutants/hunting.ts';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { engineFlags } from '../../../simulation/runs/play-pool.ts';
import { visibility } from './visible.ts';

const folder = new URL('./files/', import.meta.url);
const files = readdirSync(folder);

test('each planted bug has an experiment that finds it, or a reason why none can', () => {
  assert.deepEqual(visibility.map(({ mutant }) => mutant).sort(), mutants.map(({ name }) => name).sort());
  const used = new Set(visibility.flatMap((one) => ('file' in one ? [`${one.file}.experiment.yaml`] : [])));
  assert.deepEqual([...used].sort(), files.toSorted());
});

test('G1: an experiment finds the planted bug that skips the check of the lease', () => {
  const script = fileURLToPath(new URL('./play-mutant.ts', import.meta.url));
  const output = execFileSync(process.execPath, [...engineFlags, script, '0', '1', '60'], { encoding: 'utf8' });
  const hunt: Hunt = JSON.parse(output.trim().split('\n').at(-1) ?? '');
  assert.ok(hunt.isFound, `not found in ${hunt.histories} histories`);
  assert.match(hunt.actual, /^violated: /);
});
