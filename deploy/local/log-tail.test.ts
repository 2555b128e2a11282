import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { logger } from '@interlock/runtime';
import { logEnd, logTail } from './log-tail.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'log');
const clock = { now: () => Date.parse('2030-01-01T00:00:00Z') };
const log = logger({ service: 'disk', clock, write: (line) => appendFileSync(file, `${line}\n`) });
const fresh = (text = '') => writeFileSync(file, text);

test('for a service that did not start, the tail has only the errors', () => {
  fresh();
  log.info('settings', { leaseTtlMs: 'x'.repeat(9_000) });
  log.error('start failed', {
    error: new Error('no store', { cause: new Error('1 setting(s) cannot be used:\n  LEASE_TTL_MS: got "5"') }),
  });
  log.info('stopping', { why: 'start failed' });
  assert.equal(
    logTail(file),
    '2030-01-01T00:00:00.000Z error start failed: no store: 1 setting(s) cannot be used:\n  LEASE_TTL_MS: got "5"',
  );
});

test('the tail leaves out what an earlier process wrote', () => {
  fresh();
  log.error('request failed', { error: new Error('of yesterday') });
  const from = logEnd(file);
  assert.equal(logTail(file, { from }), '');
  log.warn('late', { lag: 3 });
  assert.equal(logTail(file, { from }), '2030-01-01T00:00:00.000Z warn late: {"lag":3}');
  assert.match(logTail(file), /of yesterday\n.*late/);
});

test('without errors, the tail has the last events', () => {
  fresh();
  for (const event of ['settings', 'serving', 'stopping']) log.info(event, { padding: 'x'.repeat(900) });
  assert.equal(
    logTail(file, { lines: 2 }),
    '2030-01-01T00:00:00.000Z info serving\n2030-01-01T00:00:00.000Z info stopping',
  );
});

test('the tail shows the last lines of other programs as they are, and cuts long ones', () => {
  fresh(`${'first\n'.repeat(30)}{"half": \n${'y'.repeat(700)}\nFATAL: heap out of memory\n`);
  log.info('settings');
  assert.deepEqual(logTail(file, { lines: 3 }).split('\n'), [
    '{"half": ',
    `${'y'.repeat(600)} …`,
    'FATAL: heap out of memory',
  ]);
  assert.equal(logTail(join(folder, 'none')), '');
  assert.equal(logEnd(join(folder, 'none')), 0);
});
