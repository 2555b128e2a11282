import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';

test('page prints an address on 127.0.0.1 with a token, reads nothing while no window shows it, and ends with --timeout', async () => {
  const { run, lines, sent } = testProgram();
  await run('page', '--timeout', '1s');
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
  assert.deepEqual(sent, []);
});

test('page refuses a port and a duration that are none', async () => {
  for (const port of ['0', '65536', 'x', '-1', '1.5'])
    await assert.rejects(testProgram().run('page', '--port', port, '--timeout', '1s'), UsageError, port);
  await assert.rejects(testProgram().run('page', '--since', '10', '--timeout', '1s'), UsageError);
});
