import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { reportLines, reportReader } from './report-lines.ts';

test('reads files back from a log byte for byte, with other lines between theirs', () => {
  const files = new Map([
    ['report.json', randomBytes(100_000)],
    ['report.html', Buffer.from('<p>short</p>')],
  ]);
  const reader = reportReader();
  const shown: string[] = [];
  for (const [name, content] of files) {
    for (const line of ['a step', ...reportLines(name, content), 'interlock-file is mentioned']) {
      assert.ok(line.length < 16_384);
      if (!reader.take(line)) shown.push(line);
    }
  }
  assert.deepEqual(reader.files(), files);
  assert.deepEqual(shown, Array(2).fill(['a step', 'interlock-file is mentioned']).flat());
});

test('a file with a missing line is an error that names the file', () => {
  const reader = reportReader();
  for (const line of reportLines('report.json', randomBytes(50_000)).slice(1)) reader.take(line);
  assert.throws(() => reader.files(), /of report\.json only \d+ of \d+ pieces arrived/);
});

test('a log without files gives no files', () => {
  const reader = reportReader();
  assert.equal(reader.take('a step'), false);
  assert.equal(reader.files().size, 0);
});
