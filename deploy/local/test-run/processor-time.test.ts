import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

test('a test file reports the processor time that it and its children used', {
  skip: process.platform === 'linux' ? false : 'only Linux counts ended children',
}, (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'processor time '));
  t.after(() => rmSync(folder, { recursive: true }));
  const [file, times] = [join(folder, 'busy.test.mjs'), join(folder, 'times.jsonl')];
  const busy = 'while (process.cpuUsage().user < 300_000);';
  writeFileSync(
    file,
    `import { spawnSync } from 'node:child_process';
     import { test } from 'node:test';
     test('computes', () => { ${busy} spawnSync(process.execPath, ['--eval', ${JSON.stringify(busy)}]); });`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const preload = `--import=${import.meta.resolve('./processor-time.ts')}?to=${encodeURIComponent(times)}`;
  const { status, stdout } = spawnSync(process.execPath, ['--test', preload, file], { env, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
  const lines = readFileSync(times, 'utf8').trimEnd().split('\n');
  const [{ file: reported, ms }] = lines.map((line) => JSON.parse(line));
  assert.deepEqual([lines.length, reported], [1, file], 'the runner itself reports nothing');
  assert.ok(ms >= 600, `${ms} ms`);
});
