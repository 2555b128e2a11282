import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repository } from '../../deploy/local/data-folder.ts';
import { startOutcome } from './start-outcome.ts';

const outcome = { verdict: 'pass', rules: { pass: 40, fail: 0 }, report: '/…/.interlock/report.json' } as const;
const startedAtMs = Date.UTC(2026, 0, 1);
const endedAtMs = startedAtMs + 24_960;

test('npm start ends with the line that docs/report.md shows', () => {
  const { text, lastLine } = startOutcome(
    { ...outcome, firstMachineRanAtMs: startedAtMs + 6_840 },
    { startedAtMs, endedAtMs },
  );
  const [, shown] = /```json\n(.*)\n```/.exec(readFileSync(join(repository, 'docs/report.md'), 'utf8')) ?? [];
  assert.equal(lastLine, shown);
  assert.equal(text, 'The first machine ran after 6.8 s; started, rehearsed and stopped in 25 s');
});

test('without a machine that ran, the outcome has no time of the first machine', () => {
  const { text, lastLine } = startOutcome(outcome, { startedAtMs, endedAtMs });
  assert.deepEqual(JSON.parse(lastLine), { ...outcome, seconds: { all: 25 } });
  assert.equal(text, 'No machine ran; started, rehearsed and stopped in 25 s');
});
