import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunRecord } from '../../record.ts';
import { type commonStretches, stretchesOf } from './losses.ts';
import { periodOf, recordPicture, treatmentFirst } from './record-picture.ts';
import { type Case, cases, largeCase, lossMs, startMs } from './test-records.ts';

const pictureOf = ({ record, verdict }: Pick<Case, 'record' | 'verdict'>) => {
  const period = periodOf(record);
  assert.ok(period !== undefined);
  return recordPicture(record, treatmentFirst(verdict.groups), period);
};

/** A stretch as `off 4.1-20.03`: seconds from the start of the timeline. */
const shown = (stretches: ReturnType<typeof commonStretches>): readonly string[] =>
  stretches.map(({ kind, fromMs, untilMs }) => `${kind} ${(fromMs - startMs) / 1_000}-${(untilMs - startMs) / 1_000}`);

test('every machine has a lane with its operations, except flushes; the treatment group comes first', () => {
  const { lanes } = pictureOf(cases.held);
  assert.deepEqual(
    lanes.map(({ name, about }) => `${name}: ${about}`),
    [
      'premium-1: Premium SSD, k1',
      'premium-2: Premium SSD, k1',
      'ultra-1: Standard SSD + Ultra, k1',
      'control-1: Premium SSD, other',
      'control-2: Premium SSD, other',
    ],
  );
  const [first] = lanes;
  assert.ok(first?.operations.some(({ ok }) => !ok) && first.operations.some(({ ok }) => ok));
});

test('a machine is off from its stop, free once access is restored, and works again from its start', () => {
  const { lanes } = pictureOf(cases.held);
  assert.deepEqual(shown(lanes[0]?.stretches ?? []), ['off 4.1-20.03', 'free 20.03-22']);
  assert.deepEqual(shown(lanes[2]?.stretches ?? []), []);
});

test('access that is restored to another group frees no machine', () => {
  const { record } = cases.held;
  const steps = record.steps.map((step) => (step.name === 'loss' ? { ...step, targets: ['other'] } : step));
  const [machine] = record.machines;
  assert.ok(machine !== undefined);
  assert.deepEqual(shown(stretchesOf(machine, { ...record, steps }, startMs + 30_000)), ['off 4.1-22']);
});

test('a machine that its user stopped is away, and off once a start is refused', () => {
  const [machine] = cases.held.record.machines;
  assert.ok(machine !== undefined);
  const change = (atMs: number, state: 'deallocated' | 'starting' | 'start-failed' | 'running', reason = '') => ({
    atMs: startMs + atMs,
    state,
    reason,
    traceId: '',
  });
  const power = [
    change(-5_000, 'running'),
    change(1_000, 'deallocated'),
    change(3_000, 'starting'),
    change(3_100, 'start-failed', 'ACCESS_DENIED'),
    change(21_000, 'running'),
  ];
  const stretches = stretchesOf({ ...machine, power }, cases.held.record, startMs + 30_000);
  assert.deepEqual(shown(stretches), ['away 1-3.1', 'off 3.1-20.03', 'free 20.03-21']);
});

test('t0 is the effect of the first loss, and the bar of a fault ends when the fault is undone', () => {
  const { marks, faults, zeroMs } = pictureOf(cases.held);
  assert.deepEqual(
    marks.map(({ atMs, label, kind }) => [atMs - lossMs, label, kind]),
    [
      [0, 't0: role removed', 'loss'],
      [19_800, 'access given back', 'return'],
    ],
  );
  assert.deepEqual(
    faults.map(({ part, label, fromMs, untilMs }) => [part, label, fromMs - startMs, untilMs - startMs]),
    [
      ['nats', 'killed', 30, 12_030],
      ['key-vault', 'paused', 30, 6_030],
    ],
  );
  assert.equal(zeroMs, startMs);
});

test('the bar of a fault that is not undone ends with the timeline, and a failed step is not t0', () => {
  const { record, verdict } = cases.held;
  const steps = record.steps
    .filter(({ undoes }) => undoes !== 'kill nats')
    .map((step) => (step.name === 'loss' ? { ...step, error: 'UNAVAILABLE' } : step));
  const { marks, faults, toMs } = pictureOf({ record: { ...record, steps }, verdict });
  assert.equal(faults[0]?.untilMs, toMs);
  assert.equal(marks[0]?.label, 'role removed (failed)');
});

test('more than twelve machines with the same outcome share a lane, which shows when only some were off', () => {
  const { lanes } = pictureOf(largeCase);
  assert.deepEqual(
    lanes.map(({ name, about }) => `${name}: ${about}`),
    [
      'premium: 59 machines: off after 2.77 s to 5.09 s',
      'premium-60: Premium SSD, k1',
      'control: 20 machines: Premium SSD, other',
    ],
  );
  assert.deepEqual(shown(lanes[0]?.stretches ?? []), [
    'partly 3-5.32',
    'off 5.32-20.03',
    'free 20.03-21.5',
    'partly 21.5-24.4',
  ]);
});

test('draws a run with 200,000 operations', () => {
  const { record, verdict } = cases.held;
  const [io] = record.io;
  assert.ok(io !== undefined);
  const many: RunRecord = {
    ...record,
    io: Array.from({ length: 200_000 }, (_, n) => ({ ...io, completedMs: startMs + (n % 30_000) })),
  };
  assert.equal(pictureOf({ record: many, verdict }).lanes[0]?.operations.length, 200_000);
});

test('a run without records has no picture', () => {
  const { record } = cases.held;
  const { startedMs: _, endedMs: __, ...run } = record.run;
  assert.equal(periodOf({ ...record, run, steps: [], machines: [], io: [] }), undefined);
});
