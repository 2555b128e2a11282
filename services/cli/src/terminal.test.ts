import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = JSON.stringify(new URL('./terminal.ts', import.meta.url).href);
const script = (deed: string) =>
  `const { openTerminal } = await import(${module}); const terminal = openTerminal(); ${deed}`;
/** A hundred thousand lines: more than any pipe holds. */
const lines = script(`process.stdout; for (let n = 0; n < 100_000; n += 1) terminal.out('line ' + n);`);
const bytes = script('for (let n = 0; n < 1_000; n += 1) await terminal.outBytes(Buffer.alloc(65_536));');
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const node = (text: string) => `${quoted(process.execPath)} --input-type=module --eval ${quoted(text)}`;

test('a reader that has enough ends the command, without a word', () => {
  for (const [what, text] of Object.entries({ lines, bytes })) {
    const { stdout, stderr } = spawnSync('bash', [
      '-c',
      `${node(text)} | head -c 10 >/dev/null; echo "\${PIPESTATUS[0]}"`,
    ]);
    assert.deepEqual([what, String(stdout).trim(), String(stderr)], [what, '141', '']);
  }
});

test('a slow reader gets every line', () => {
  const read = execFileSync('bash', ['-c', `${node(lines)} | (sleep 0.5; wc -l)`]);
  assert.equal(String(read).trim(), '100000');
});
