import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureLog } from './failure-log.ts';
import { logger } from './logger.ts';

const opened = () => {
  const lines: Record<string, unknown>[] = [];
  let nowMs = 0;
  const clock = { now: () => 1_000_000 + nowMs, monotonicMs: () => nowMs };
  const log = logger({ service: 'test', clock, write: (line) => lines.push(JSON.parse(line)) });
  const attempts = failureLog({ log, clock, failing: 'bus is not reached', back: 'bus is back' });
  return { lines, attempts, pass: (ms: number) => (nowMs += ms) };
};

test('of repeated failures the first one, one a minute and the end are logged', () => {
  const { lines, attempts, pass } = opened();
  attempts.succeeded();
  assert.equal(lines.length, 0, 'a success without a failure is not logged');
  for (let n = 0; n < 1_300; n++) {
    attempts.failed(new Error(`failure ${n}`), { partition: 3 });
    pass(100);
  }
  attempts.succeeded();
  attempts.succeeded();
  const shown = lines.map(({ level, event, failures, partition }) => ({ level, event, failures, partition }));
  assert.deepEqual(shown, [
    { level: 'warn', event: 'bus is not reached', failures: 1, partition: 3 },
    { level: 'warn', event: 'bus is not reached', failures: 601, partition: 3 },
    { level: 'warn', event: 'bus is not reached', failures: 1_201, partition: 3 },
    { level: 'info', event: 'bus is back', failures: 1_300, partition: undefined },
  ]);
  assert.equal(lines[1]?.failingMs, 60_000);
  assert.equal(lines.at(-1)?.failedMs, 130_000);
});

test('a new failure after a success is logged at once', () => {
  const { lines, attempts } = opened();
  attempts.failed(new Error('one'));
  attempts.succeeded();
  attempts.failed(new Error('two'));
  assert.equal(lines.filter(({ level }) => level === 'warn').length, 2);
});

test('an outage has its start, the number of failures and the newest error', () => {
  const { attempts, pass } = opened();
  assert.equal(attempts.outage(), undefined);
  attempts.failed(new Error('one'));
  pass(5);
  const error = new Error('two');
  attempts.failed(error);
  const { since, failures, error: newest } = attempts.outage() ?? assert.fail('it fails');
  assert.deepEqual({ since, failures, newest }, { since: 1_000_000, failures: 2, newest: error });
  attempts.succeeded();
  assert.equal(attempts.outage(), undefined);
});
