import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '../verdict.ts';
import { verdictLines } from './verdict-lines.ts';

const verdict: Verdict = {
  outcome: 'held',
  because: 'All rules held.',
  problems: [],
  rules: [
    { kind: 'expectation', text: 'bytesLost == 0', result: 'held', seen: 'bytesLost = 0' },
    { kind: 'expectation', text: 'premium.running', result: 'violated', seen: '' },
    { kind: 'guarantee', text: 'G1 premium-1', result: 'held', seen: '' },
  ],
  groups: [],
  bytesCompared: 0,
  bytesLost: 0,
};

test('a rule that held is marked ok only if the run proves something', () => {
  assert.match(verdictLines(verdict).join('\n'), /^ok {3}expectation: bytesLost[\s\S]*^ok {3}1 guarantees/m);
  for (const outcome of ['inconclusive', 'aborted'] as const) {
    const lines = verdictLines({ ...verdict, outcome, problems: ['io.jsonl is missing'] });
    assert.deepEqual(
      lines.filter((line) => line.startsWith('ok')),
      [],
    );
    assert.ok(lines.includes('-    expectation: bytesLost == 0 (bytesLost = 0)'), lines.join('\n'));
    assert.ok(lines.includes('FAIL expectation: premium.running'), lines.join('\n'));
    assert.ok(lines.includes('-    marks what was not broken in a run that does not prove it'));
  }
});
