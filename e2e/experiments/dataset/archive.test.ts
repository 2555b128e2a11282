import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkDataset, DatasetError, type RunData, withSpans, writeCollection, writeRun } from '@interlock/lab/dataset';
import { testRun } from '../../../libs/lab/src/dataset/test-run.ts';
import { archiveOf } from './archive.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-archive-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** A run with an answer in each span. */
const labelled = (): RunData => {
  const data = testRun();
  const answer = { key: 'interlock.event.ids', value: { stringValue: 'an answer' } };
  return { ...data, traces: withSpans(data.traces, (span) => ({ ...span, attributes: [answer] })) };
};

/** A recorded collection of two runs, as `dataset archive` finds it. */
const collection = (name: string): string => {
  const folder = join(root, name, 'traces');
  const runs = ['one', 'two'].map((path) => ({ path, seed: 1, sha256: writeRun(join(folder, path), labelled()) }));
  writeCollection(folder, 'a test', runs);
  return folder;
};

test('the same runs give the same archive, which is sound when it is unpacked', async () => {
  const [first, second] = [collection('first'), collection('second')];
  // What differs between two machines, and must not decide the bytes.
  chmodSync(join(second, 'manifest.json'), 0o600);
  utimesSync(join(second, 'one', 'manifest.json'), 1, 1);
  const { path, sha256 } = await archiveOf(first);
  assert.equal((await archiveOf(second)).sha256, sha256);
  assert.equal(readFileSync(`${path}.sha256`, 'utf8'), `${sha256}  traces.tar\n`);

  const unpacked = join(root, 'unpacked');
  mkdirSync(unpacked);
  execFileSync('tar', ['-xf', path, '-C', unpacked]);
  const folder = join(unpacked, 'traces');
  assert.deepEqual(checkDataset(folder), []);
  execFileSync('sha256sum', ['--check', '--quiet', '--strict', 'SHA256SUMS'], { cwd: folder });
  const files = readFileSync(join(folder, 'SHA256SUMS'), 'utf8');
  assert.match(files, / {2}manifest\.json\n/);
  assert.match(files, / {2}DATASHEET\.md\n/);
  for (const kind of ['labelled', 'blind']) assert.match(files, new RegExp(` {2}exports/${kind}/two/.*\\.parquet\n`));
  assert.match(readFileSync(join(folder, 'DATASHEET.md'), 'utf8'), /\| runs \| 2 \|/);
  const blind = readFileSync(join(folder, 'exports', 'blind', 'one', 'spans.parquet'));
  const whole = readFileSync(join(folder, 'exports', 'labelled', 'one', 'spans.parquet'));
  assert.ok(!blind.equals(whole), 'only one of them has the answers');
});

test('the folder of one run is refused, and nothing is written', async () => {
  const folder = join(root, 'alone');
  writeRun(folder, testRun());
  await assert.rejects(archiveOf(folder), DatasetError);
  assert.ok(!existsSync(`${folder}.tar`));
});
