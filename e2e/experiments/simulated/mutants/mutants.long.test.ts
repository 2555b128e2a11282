import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import { playExperiment } from '../play-experiment.ts';

const folder = new URL('./files/', import.meta.url);

// Without this a file that always fails would seem to find its bug. In `npm test`, mutants.test.ts finds a planted bug by one of the
// files, and target.test.ts plays experiments that hold.
for (const file of readdirSync(folder)) {
  test(`G1 to G10: "${file}" holds without a planted bug`, async () => {
    const read = readExperiment(readFileSync(new URL(file, folder), 'utf8'));
    assert.ok('experiment' in read, JSON.stringify(read));
    const { outcome, because } = await playExperiment(read.experiment, 1);
    assert.equal(outcome, 'held', because);
  });
}
