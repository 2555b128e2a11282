import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunRecord } from '../record.ts';
import { experimentOf, heldRecord, lossMs, startedMs, testFile } from '../verdict/test-record.ts';
import { expectationsSoFar } from './expectation-state.ts';

/** The record of the held run as it was at a time: nothing of what came later. */
const recordAt = (atMs: number): RunRecord => {
  const { run, ...whole } = heldRecord();
  const { endedMs: _, ...facts } = run;
  return {
    ...whole,
    run: facts,
    steps: whole.steps.filter(({ invokedMs }) => invokedMs <= atMs),
    io: whole.io.filter(({ completedMs }) => completedMs <= atMs),
    machines: whole.machines.map((machine) => ({
      ...machine,
      power: machine.power.filter((change) => change.atMs <= atMs),
      starts: machine.starts.filter(({ requestedMs }) => requestedMs <= atMs),
    })),
    content: { disksCompared: 0, bytesCompared: 0, bytesLost: 0 },
  };
};

/** The state of one expectation at a time after the start. */
const stateAt = (text: string, afterMs: number, record = recordAt(startedMs + afterMs)): string => {
  const experiment = experimentOf(testFile.replace(/expect:[\s\S]*$/, `expect: ["${text}"]`));
  const [found] = expectationsSoFar(experiment, record, startedMs + afterMs);
  return found?.state ?? '';
};

test('a moment that has not come is open until it is due, and broken a second later', () => {
  const text = 'premium.stopped <= loss + 2s';
  const dueMs = lossMs - startedMs + 2_000;
  assert.equal(stateAt(text, 500), 'open');
  assert.equal(stateAt(text, dueMs - 1), 'open');
  assert.equal(stateAt(text, dueMs + 999), 'open');
  assert.equal(stateAt(text, dueMs + 1_001), 'broken');
  assert.equal(stateAt('premium.stopped <= 2s', dueMs + 1_001), 'broken');
  assert.equal(stateAt('2s >= premium.stopped', dueMs + 1_001), 'broken');
});

test('a moment that came in time holds so far', () => {
  assert.equal(stateAt('premium.stopped <= loss + 8s', 9_000), 'holds');
  assert.equal(stateAt('control.gap <= 1s', 5_000), 'holds');
});

test('what only the end shows is open, also when it does not hold yet', () => {
  assert.equal(stateAt('premium.isStopped', 500), 'open');
  assert.equal(stateAt('control.failed > 0', 5_000), 'open');
  assert.equal(stateAt('control.failed == 3', 5_000), 'open');
  assert.equal(stateAt('bytesLost == 0', 5_000), 'open');
});

test('a failure that must not occur breaks an expectation at once', () => {
  const record = recordAt(startedMs + 5_000);
  const io = record.io.map((one) =>
    one.machine.endsWith('/control-1') && one.completedMs > startedMs + 4_000
      ? { ...one, ok: false, reason: 'UNAVAILABLE' }
      : one,
  );
  assert.equal(stateAt('control.failed == 0', 5_000), 'holds');
  assert.equal(stateAt('control.failed == 0', 5_000, { ...record, io }), 'broken');
  assert.equal(stateAt('control.failed <= 100', 5_000, { ...record, io }), 'holds');
});

test('before the timeline everything is open', () => {
  const { run, ...rest } = recordAt(startedMs);
  const { startedMs: _, ...facts } = run;
  assert.equal(stateAt('control.failed == 0', 0, { ...rest, run: facts }), 'open');
});
