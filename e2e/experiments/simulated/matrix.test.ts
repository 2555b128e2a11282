import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { evidenceFiles, readEvidence, readExperiment, readMatrix, verdictOfRun } from '@interlock/lab';
import { judgedAgain } from '@interlock/lab/judge/recording/raw-record';
import { cellsOf } from '@interlock/lab/report/matrix/cells-of';
import { playMatrix } from './matrix.ts';

const file = readFileSync(new URL('../files/every-cause.experiment.yaml', import.meta.url), 'utf8');

test('each sampled run of a matrix holds, and its evidence gives the same verdict again', async () => {
  const matrix = readMatrix(file);
  assert.ok(matrix !== undefined && 'cases' in matrix);
  assert.equal(matrix.cases.length, 96);
  // Every class and fault.
  const cases = matrix.cases.filter((_, n) => n % 31 === 0);
  const folder = mkdtempSync(join(tmpdir(), 'interlock-matrix-'));
  const lines: string[] = [];
  try {
    const runs = await playMatrix({
      ...{ cases, repeat: 1, folder, workers: 2 },
      signal: new AbortController().signal,
      say: (line) => lines.push(line),
      elapsedMs: () => 0,
    });
    assert.deepEqual(
      runs.map(({ verdict }) => `${verdict.outcome}: ${verdict.because}`).filter((text) => !text.startsWith('held')),
      [],
    );
    assert.equal(cellsOf(runs).length, cases.length);
    assert.match(
      lines.at(-1) ?? '',
      new RegExp(`^${cases.length} of ${cases.length} runs: ${cases.length} held; 0 s left$`),
    );
    for (const { report = '' } of runs) {
      const own = join(folder, dirname(report));
      const { text, record } = readEvidence(own);
      const read = readExperiment(text);
      assert.ok('experiment' in read);
      const kept = JSON.parse(readFileSync(join(own, evidenceFiles.verdict), 'utf8'));
      assert.deepEqual(JSON.parse(JSON.stringify(verdictOfRun(read.experiment, judgedAgain(record)))), kept);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('each repeat of a case has the next seed', async () => {
  const matrix = readMatrix(file);
  assert.ok(matrix !== undefined && 'cases' in matrix);
  const runs = await playMatrix({
    ...{ cases: matrix.cases.slice(0, 1), repeat: 2, folder: undefined, workers: 1 },
    signal: new AbortController().signal,
    say: () => undefined,
    elapsedMs: () => 0,
  });
  const [first, second] = runs.map(({ verdict }) => JSON.stringify(verdict.groups));
  assert.equal(runs.length, 2);
  assert.notEqual(first, second);
});
