import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';

// The randomness of a test is known: the address must not be kept where a user's page takes it from.
const data = mkdtempSync(join(tmpdir(), 'interlock-page-'));
after(() => rmSync(data, { recursive: true }));
const env = { INTERLOCK_DATA: data };

test('page prints an address on 127.0.0.1 with a token, reads nothing while no window shows it, and ends with --timeout', async () => {
  const { run, lines, sent } = testProgram({}, { env });
  await run('page', '--timeout', '1s');
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
  assert.deepEqual(sent, []);
  assert.match(readFileSync(join(data, 'page.json'), 'utf8'), new RegExp(lines[0]?.split('/')[3] ?? 'no token'));
});

test('page refuses a port and a duration that are none', async () => {
  for (const port of ['0', '65536', 'x', '-1', '1.5'])
    await assert.rejects(testProgram({}, { env }).run('page', '--port', port, '--timeout', '1s'), UsageError, port);
  await assert.rejects(testProgram({}, { env }).run('page', '--since', '10', '--timeout', '1s'), UsageError);
});
