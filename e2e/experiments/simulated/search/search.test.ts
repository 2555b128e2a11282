import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import { playTrial } from './play-trial.ts';
import { searchFile } from './search-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-search-'));
after(() => rmSync(folder, { recursive: true }));
const everything = readFileSync(new URL('./everything.experiment.yaml', import.meta.url), 'utf8');

/** Searches a file for a short time. */
const searched = async (text: string, histories: number, signal = new AbortController().signal) => {
  const lines: string[] = [];
  const output = join(folder, `${lines.length}-${histories}.experiment.yaml`);
  const result = await searchFile({
    ...{ text, seed: 1, budgetMs: Number.MAX_SAFE_INTEGER, histories, workers: 2, output, signal },
    other: { name: 'local', refuse: () => [] },
    say: (line) => void lines.push(line),
    elapsedMs: () => 0,
  });
  return { result, lines, output };
};

test('G1 to G10: a short search of everything finds no violation', async () => {
  const { result, lines } = await searched(everything, 3);
  assert.deepEqual(result, { isFound: false }, lines.join('\n'));
  assert.match(lines.at(-1) ?? '', /^3 histories; closest: .*; no violation \(seed 1\)$/);
});

/** A history of two machines takes a third of the time of one of everything, and the search plays some eighty. */
const smallEstate = everything.replaceAll(/^ {2}(mixed|ultra): .*\n/gm, '').replace('machines: 2', 'machines: 1');

test('an expectation that some timeline breaks is found, made small, and broken again by its file', async () => {
  const text = smallEstate.replace('- bytesLost == 0', '- control.gap <= 900ms');
  const { result, lines, output } = await searched(text, 200);
  assert.deepEqual(result, { isFound: true }, lines.join('\n'));
  const file = readFileSync(output, 'utf8');
  const read = readExperiment(file);
  assert.ok('experiment' in read, file);
  const { experiment } = read;
  assert.ok(experiment.timeline.length <= 2, file);
  const { outcome, violated } = await playTrial({ text: file, moves: [], seed: experiment.seed });
  assert.deepEqual([outcome, violated], ['violated', ['control.gap <= 900ms']]);
  assert.ok(lines.includes(`repeat it: npx interlock experiment run ${output} --target simulated`));
});

test('a search that is interrupted says how far it came', async () => {
  const { result, lines } = await searched(everything, 1_000, AbortSignal.abort());
  assert.deepEqual(result, { isFound: false });
  assert.match(lines.at(-1) ?? '', /^0 histories/);
});
