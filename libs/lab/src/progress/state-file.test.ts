import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { experimentOf, step } from '../engine/test-lab.ts';
import { parseExpression } from '../expressions/parse.ts';
import type { RunRecord } from '../record.ts';
import { heldRecord } from '../verdict/test-record.ts';
import { type RunState, runStateOf } from './run-state.ts';
import { readRunState, runStateBytesMax, runStateFile, writeRunState } from './state-file.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-state-'));
after(() => rmSync(root, { recursive: true }));

const record: RunRecord = { ...heldRecord(), steps: [], io: [], machines: [] };

/** The state of a run with steps, conditions and problems. */
const stateOf = (steps: number, conditions: number, text: string): RunState => {
  const parsed = parseExpression('bytesLost == 0');
  assert.ok('expression' in parsed);
  const all = Array.from({ length: conditions }, (_, n) => ({ line: n, text: `${text}${n}`, ...parsed }));
  const timeline = Array.from({ length: steps }, (_, n) => step(`${text}${n}`, n, { targets: [text, text] }));
  const experiment = experimentOf(timeline, { title: text, expect: all, abort: all });
  const parts = {
    experiment,
    id: text,
    target: 'existing',
    sinceMs: 1,
    runner: { pid: 1, startedAt: '1' },
    folder: '/f',
  };
  const run = { ...record.run, problems: Array.from({ length: 100 }, () => text) };
  return runStateOf(parts, { phase: 'timeline', record: { ...record, run }, seenMs: 2 });
};

test('a state is read as it was written, and only its owner can read the file', () => {
  assert.equal(readRunState(root), undefined);
  const state = stateOf(3, 2, 'a');
  writeRunState(root, state);
  assert.deepEqual(readRunState(root), state);
  assert.equal(statSync(join(root, runStateFile)).mode & 0o777, 0o600);
});

test('the state of the largest run is in the bounds, and can be read', () => {
  const state = stateOf(1_000, 1_000, '€'.repeat(1_000));
  writeRunState(root, state);
  const bytes = statSync(join(root, runStateFile)).size;
  assert.ok(bytes > 50_000 && bytes <= runStateBytesMax, `${bytes} bytes`);
  assert.equal(readRunState(root)?.stepsLeftOut, 940);
});

test('of too many steps those around the current one are kept', () => {
  const done = Array.from({ length: 500 }, (_, n) => ({
    ...{ name: `s${n}`, action: 'kill', targets: ['nats'], plannedMs: n, invokedMs: n, doneMs: n },
  }));
  const timeline = Array.from({ length: 1_000 }, (_, n) => step(`s${n}`, n));
  const parts = { id: 'i', target: 'existing', sinceMs: 1, runner: { pid: 1, startedAt: '1' }, folder: '/f' };
  const progress = { phase: 'timeline', record: { ...record, steps: done }, seenMs: undefined } as const;
  const { steps } = runStateOf({ ...parts, experiment: experimentOf(timeline) }, progress);
  assert.deepEqual([steps[0]?.name, steps[29]?.state, steps[30]?.state, steps.length], ['s470', 'done', 'planned', 60]);
});

test('a malformed, half written, huge or foreign file is refused', () => {
  const state = stateOf(3, 2, 'a');
  const text = JSON.stringify(state);
  const change = (fields: object): string => JSON.stringify({ ...state, ...fields });
  for (const wrong of [
    '',
    'null',
    '[]',
    text.slice(0, text.length / 2),
    `${text}${' '.repeat(runStateBytesMax)}`,
    change({ title: 1 }),
    change({ title: 'x'.repeat(201) }),
    change({ phase: 'constructor' }),
    change({ sinceMs: 1e300 }),
    change({ steps: Array(61).fill(state.steps[0]) }),
    change({ steps: [{ ...state.steps[0], state: 'other' }] }),
    change({ steps: [null] }),
    change({ expectations: {} }),
    change({ verdict: { outcome: 1 } }),
    change({ runner: undefined }),
  ]) {
    writeFileSync(join(root, runStateFile), wrong);
    assert.throws(() => readRunState(root), `${wrong.slice(0, 60)} …`);
  }
  rmSync(join(root, runStateFile));
  mkdirSync(join(root, runStateFile));
  assert.throws(() => readRunState(root), /only regular files are read/);
  rmSync(join(root, runStateFile), { recursive: true });
});

test('marks of direction and control characters are visible', () => {
  writeRunState(root, { ...stateOf(1, 1, 'a'), title: 'a\u202eb\nc' });
  assert.doesNotMatch(readRunState(root)?.title ?? '', /[\u202e\n]/);
  assert.match(readFileSync(join(root, runStateFile), 'utf8'), /\u202e/);
});
