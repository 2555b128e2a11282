import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { problemLines, readExperiment } from '@interlock/lab';
import { playExperiment } from './simulated/play-experiment.ts';

const folder = new URL('traps/', import.meta.url);
const files = readdirSync(folder);

/** What a trap must come to, as its first line says: `# vacuous: the text that the verdict contains`. */
const expectationOf = (text: string) => {
  const [, result = '', says = ''] = /^# (\w+): (.*)$/m.exec(text) ?? [];
  return { result, says };
};

/** What it comes to in the simulation: the problems of the file, or the verdict with the rules that did not hold. */
const resultOf = async (text: string): Promise<{ readonly result: string; readonly says: string }> => {
  const read = readExperiment(text);
  if ('problems' in read) return { result: 'refused', says: problemLines('trap', read.problems).join('\n') };
  const { outcome, because, broken } = await playExperiment(read.experiment, read.experiment.seed);
  return { result: outcome, says: [because, ...broken.map(({ text: rule, seen }) => `${rule}: ${seen}`)].join('\n') };
};

describe('an experiment that cannot fail is refused, or its verdict is not `held`', () => {
  test('there are at least 40 traps', () => assert.ok(files.length >= 40, `${files.length}`));

  for (const file of files)
    test(file, async () => {
      const text = readFileSync(new URL(file, folder), 'utf8');
      const { result, says } = await resultOf(text);
      const expected = expectationOf(text);
      assert.equal(result, expected.result, says);
      assert.ok(says.includes(expected.says), says);
    });
});
