import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { logTail } from './log-tail.ts';
import { boundLogs, spaceReports } from './space-watch.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a folder without space is reported once, and so is its space afterwards', () => {
  const said: string[] = [];
  const report = spaceReports((line) => said.push(line));
  for (const full of [
    undefined,
    'no space left in /data (3 MiB free)',
    'no space left in /data (1 MiB free)',
    undefined,
    undefined,
  ])
    report('/data', full);
  assert.equal(said.length, 2);
  assert.match(said[0] ?? '', /^no space left in \/data \(3 MiB free\): .*Free some space/);
  assert.match(said[1] ?? '', /^\/data has space again/);
});

test('a log above its limit is emptied, one earlier part is kept, and its end is shown from then on', () => {
  const file = join(folder, 'disk.log');
  writeFileSync(join(folder, 'small.log'), 'stays\n');
  writeFileSync(file, 'first\n'.repeat(100));
  const startedAt = statSync(file).size;
  boundLogs(folder, 500);
  assert.deepEqual([statSync(file).size, readFileSync(`${file}.1`, 'utf8').length], [0, 600]);
  appendFileSync(file, 'second\n');
  assert.equal(logTail(file, { from: startedAt }), 'second');
  appendFileSync(file, 'third\n'.repeat(100));
  boundLogs(folder, 500);
  assert.match(readFileSync(`${file}.1`, 'utf8'), /^second\nthird/);
  assert.deepEqual(readdirSync(folder).sort(), ['disk.log', 'disk.log.1', 'small.log']);
  assert.equal(readFileSync(join(folder, 'small.log'), 'utf8'), 'stays\n');
});
