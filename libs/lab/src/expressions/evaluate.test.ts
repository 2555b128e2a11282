import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MachineRecord, StepRecord } from '../record.ts';
import {
  backMs,
  type Change,
  changeIo,
  changeMachine,
  experimentOf,
  lossMs,
  nameOf,
  operation,
  startedMs,
  testFile,
  verdictOf,
} from '../verdict/test-record.ts';

/** Result of one expectation, and what was seen, on the record of a run with a change. */
const resultOf = (text: string, change: Change = () => ({})) => {
  const { rules } = verdictOf(change, experimentOf(testFile.replace(/expect:[\s\S]*$/, `expect: ["${text}"]`)));
  const { result, seen } = rules.find(({ kind }) => kind === 'expectation') ?? assert.fail();
  return `${result}: ${seen}`;
};

describe('expectations of stops and starts', () => {
  for (const [text, expected] of [
    ['premium.stopped <= 3.55s', /^held: 3\.55 s after the loss/],
    ['3.54s >= premium.stopped', /^violated/],
    ['premium.stopped >= loss + 1s', /^held/],
    ['premium.lastGoodIo < premium.stopped', /^held: 2\.\d+ s before premium\.stopped/],
    ['ultra.startRefused <= 5s', /^vacuous: no start of ultra-1 was requested/],
    ['premium.failed == 0', /^held: premium\.failed = 0/],
    ['premium.mismatches == 0', /^held/],
    ['premium.isStopped', /^violated: 0 of 2 machines are stopped at the end/],
    ['control.running', /^held: 1 of 1 machines ran without interruption/],
    ['control.gap < premium.gap', /^held: control\.gap = 100 ms, premium\.gap = [89]\./],
    ['bytesCompared >= 1000', /^held/],
  ] as const)
    test(text, () => assert.match(resultOf(text), expected));

  test('startRefused measures a refused start, and is violated by a start that succeeds', () => {
    const start = (outcome: 'failed' | 'running'): Change =>
      changeMachine('ultra-1', () => ({
        starts: [
          {
            requestedMs: lossMs + 100,
            outcome,
            endedMs: lossMs + 900,
            reason: outcome === 'failed' ? 'ACCESS_DENIED' : '',
          },
        ],
      }));
    assert.match(
      resultOf('ultra.startRefused <= 1s', start('failed')),
      /^held: 900 ms after the loss: start of ultra-1 refused \(ACCESS_DENIED\)/,
    );
    assert.match(
      resultOf('ultra.startRefused <= 1s', start('running')),
      /^violated: a start of ultra-1 was not refused/,
    );
  });

  test('a start that ends after the key was given back shows nothing about the loss', () => {
    const late = { requestedMs: backMs - 60, outcome: 'running', endedMs: backMs + 900, reason: '' } as const;
    const refused = {
      requestedMs: lossMs + 100,
      outcome: 'failed',
      endedMs: lossMs + 900,
      reason: 'ACCESS_DENIED',
    } as const;
    const starts = (...of: readonly (typeof late | typeof refused)[]): Change =>
      changeMachine('ultra-1', () => ({ starts: of }));
    assert.match(resultOf('ultra.startRefused <= 1s', starts(refused, late)), /^held: 900 ms after the loss/);
    assert.match(resultOf('ultra.startRefused <= 1s', starts(late)), /^vacuous/);
  });

  test('only a stop by the platform counts: one by the user leaves it untested', () => {
    const byUser = changeMachine('premium-2', ({ power }) => ({
      power: power.map((one) => ({ ...one, reason: one.state.startsWith('stop') ? '' : one.reason })),
    }));
    const seen = /^vacuous: premium-2 was stopped by its user before the platform stopped it/;
    assert.match(resultOf('premium.stopped <= loss + 10s', byUser), seen);
    assert.match(resultOf('premium.reason == ACCESS_DENIED', byUser), /^vacuous: the platform did not stop premium-2/);
    assert.match(resultOf('premium.reason == ACCESS_DENIED'), /^held: 2 stops for ACCESS_DENIED/);
    assert.match(resultOf('premium.reason == KEY_DISABLED'), /^violated: premium-1 stopped for ACCESS_DENIED/);
  });

  test('machines that keep running show nothing about a loss if no use of the key was refused', () => {
    assert.match(resultOf('ultra.running'), /^held/);
    assert.match(
      resultOf('ultra.running', () => ({ sightings: [] })),
      /^vacuous: the key of ultra was lost for 8\.98 s/,
    );
  });

  test('a stop in the first millisecond of the timeline interrupts a machine', () => {
    const first = changeMachine('control-1', ({ power }) => ({
      power: [...power, { atMs: startedMs, state: 'stopping', reason: '', traceId: '' }],
    }));
    assert.match(
      resultOf('control.running', first),
      /^violated: control-1 stopping \(by its user\) 0 ms after the start/,
    );
  });

  test('a start that fails for another cause than its key was not refused', () => {
    const failed = changeMachine('ultra-1', () => ({
      starts: [{ requestedMs: lossMs + 100, outcome: 'failed', endedMs: lossMs + 900, reason: 'OUT_OF_MEMORY' }],
    }));
    assert.match(resultOf('ultra.startRefused <= 5s', failed), /^vacuous/);
  });
});

describe('moments and gaps of I/O', () => {
  test('a moment that never occurred violates an upper bound, and makes a lower bound vacuous', () => {
    const never = changeMachine('premium-2', ({ power }) => ({ power: power.slice(0, 1) }));
    assert.match(resultOf('premium.stopped <= loss + 60s', never), /^violated: premium-2 never stopped/);
    assert.match(resultOf('premium.stopped >= loss + 1s', never), /^vacuous: premium-2 never stopped/);
  });

  test('a failed operation neither ends a gap nor counts as I/O of a restored machine', () => {
    const failing = (machine: string, fromMs: number, toMs: number): Change =>
      changeIo((one) =>
        one.machine === nameOf(machine) && one.completedMs > fromMs && one.completedMs < toMs
          ? { ...one, ok: false, reason: 'UNAVAILABLE' }
          : one,
      );
    assert.match(
      resultOf('ultra.gap <= 1s', failing('ultra-1', startedMs + 5_000, startedMs + 7_000)),
      /^violated: ultra\.gap = 2\.\d+ s/,
    );
    assert.match(
      resultOf('premium.back <= 2s', failing('premium-1', backMs, backMs + 2_500)),
      /^violated: 2\.5\d s after access was given back/,
    );
  });

  test('a disk that the timeline attaches has no gap before it is attached', () => {
    const attached: Change = ({ io }) => ({
      io: [...io, operation('ultra-1', startedMs + 7_000, { disk: 'groups/g/disks/attached' })],
    });
    assert.match(resultOf('ultra.gap <= 1s', attached), /^held: ultra\.gap = 1\d\d ms/);
  });

  test('if an undo failed and was repeated, access is back with the last one', () => {
    const repeated: Change = ({ steps }) => ({
      steps: steps.flatMap((step) =>
        step.undoes === 'loss'
          ? [{ ...step, invokedMs: backMs - 3_000, effectMs: backMs - 3_000, error: 'refused' }, step]
          : [step],
      ),
    });
    assert.match(resultOf('premium.back <= 5s', repeated), /^held: 1\.4\d s after/);
  });

  test('firstBreak names the first failure beyond the limit', () => {
    const io: Change = (record) => ({
      io: [
        ...record.io,
        ...[1, 2, 3].map((n) =>
          operation('premium-1', startedMs + n * 100, { seq: n, ok: false, reason: 'CONTENT_MISMATCH' }),
        ),
      ],
    });
    const { rules } = verdictOf(
      io,
      experimentOf(testFile.replace(/expect:[\s\S]*$/, 'expect: [premium.mismatches == 0]')),
    );
    assert.match(
      rules.find(({ kind }) => kind === 'expectation')?.firstBreak ?? '',
      /^write 1 of premium-1 on premium-1-d0 \(CONTENT_MISMATCH\)/,
    );
  });
});

test('two losses are measured separately, and overlapping losses count as one', () => {
  const file = `
title: twice
estate: {premium: {machines: 1, disks: [premium-ssd], key: k1}}
timeline:
  - {at: 0s, disable-key: premium, as: one, for: 4s}
  - {at: 1s, remove-role: premium, as: inside, for: 2s}
  - {at: 10s, disable-key: premium, as: two, for: 4s}
  - {at: 12s, start: premium}
expect: [premium.stopped <= 2s, premium.stopped <= two + 2s]
`;
  const step = (name: string, atMs: number, undoneMs: number): StepRecord[] => [
    {
      name,
      action: 'disable-key',
      targets: ['premium'],
      plannedMs: startedMs + atMs,
      invokedMs: startedMs + atMs,
      doneMs: startedMs + atMs,
      effectMs: startedMs + atMs,
    },
    {
      name: `undo ${name}`,
      action: 'undo',
      targets: ['premium'],
      undoes: name,
      plannedMs: startedMs + undoneMs,
      invokedMs: startedMs + undoneMs,
      doneMs: startedMs + undoneMs,
    },
  ];
  const power = (firstStopMs: number | undefined, secondStopMs: number): MachineRecord['power'] =>
    (
      [
        [-1_000, 'running'],
        ...(firstStopMs === undefined
          ? []
          : ([
              [firstStopMs, 'stopped'],
              [5_000, 'running'],
            ] as const)),
        [secondStopMs, 'stopped'],
        [15_000, 'running'],
      ] as const
    ).map(([atMs, state]) => ({
      atMs: startedMs + atMs,
      state,
      reason: state === 'stopped' ? 'KEY_DISABLED' : '',
      traceId: '',
    }));
  const verdict = (
    firstStopMs: number | undefined,
    secondStopMs: number,
    { of = experimentOf(file), busyAt = [-500, 5_500, 9_500, 15_500], starts = [] as MachineRecord['starts'] } = {},
  ) =>
    verdictOf(
      (record) => ({
        steps: [
          ...step('one', 0, 4_000),
          ...step('inside', 1_000, 3_000),
          ...step('two', 10_000, 14_000),
          ...step('start-premium', 12_000, 14_000).slice(0, 1),
        ],
        machines: [{ ...(record.machines[0] ?? assert.fail()), power: power(firstStopMs, secondStopMs), starts }],
        io: busyAt.map((atMs) => operation('premium-1', startedMs + atMs)),
      }),
      of,
    );
  const held = verdict(1_500, 11_900);
  assert.equal(held.outcome, 'held', held.because);
  assert.deepEqual(
    [held.groups[0]?.stopped.count, held.groups[0]?.stopped.p50, held.groups[0]?.stopped.max],
    [2, 1_500, 1_900],
  );
  const violated = verdict(1_500, 12_300);
  assert.equal(violated.outcome, 'violated', violated.because);
  assert.equal(violated.rules.filter(({ result }) => result === 'violated').length, 2);
  // A stop during the second loss does not count for the first one.
  for (const firstStopMs of [2_100, undefined]) {
    const { rules, outcome } = verdict(firstStopMs, 11_900);
    assert.equal(outcome, 'violated');
    const [violatedRule, ...others] = rules.filter(({ result }) => result === 'violated');
    assert.deepEqual([violatedRule?.text, others], ['premium.stopped <= 2s', []]);
    assert.match(violatedRule?.seen ?? '', firstStopMs === undefined ? /never stopped/ : /^2\.10 s after the loss/);
  }

  const [premium] = verdict(1_500, 11_900, { busyAt: [-500, 5_500, 15_500] }).groups;
  assert.equal(
    premium?.lastGoodWrite.count,
    1,
    'I/O of a machine that was idle before a loss is no figure of that loss',
  );
  const started = verdict(1_500, 11_900, {
    of: experimentOf(`${file.replace(/expect:.*/, 'expect: [premium.startRefused <= 4s]')}`),
    starts: [
      { requestedMs: startedMs + 12_000, endedMs: startedMs + 13_000, outcome: 'failed', reason: 'KEY_DISABLED' },
    ],
  });
  assert.equal(started.outcome, 'held', `a start was tried in the second loss only: ${started.because}`);
});

test('if no user starts a machine between two losses, it is back after the second one', () => {
  const file = `
title: taken again
estate: {premium: {machines: 1, disks: [premium-ssd], key: k1}}
timeline:
  - {at: 1s, disable-key: premium, as: first, for: 200ms}
  - {at: 2s, disable-key: premium, as: loss}
  - {at: 10s, give-back: loss, start: true}
expect: [premium.back <= 1s]
`;
  const loss = { action: 'disable-key', targets: ['premium'] };
  const steps = [
    { ...loss, name: 'first', atMs: 1_000 },
    { ...loss, name: 'undo first', undoes: 'first', atMs: 1_200 },
    { ...loss, name: 'loss', atMs: 2_000 },
    { ...loss, name: 'give-back-loss', undoes: 'loss', atMs: 10_000 },
  ].map(({ atMs, ...step }): StepRecord => {
    const ms = startedMs + atMs;
    return { ...step, plannedMs: ms, invokedMs: ms, doneMs: ms, effectMs: ms };
  });
  const backAfter =
    (ms: number): Change =>
    ({ machines: [machine = assert.fail()] }) => ({
      steps,
      machines: [
        {
          ...machine,
          power: [
            { atMs: startedMs - 5_000, state: 'running', reason: '', traceId: '' },
            { atMs: startedMs + 1_100, state: 'stopped', reason: 'KEY_DISABLED', traceId: '' },
            { atMs: startedMs + 10_000 + ms, state: 'running', reason: '', traceId: '' },
          ],
        },
      ],
      io: [800, 10_001 + ms].map((atMs) => operation('premium-1', startedMs + atMs)),
    });
  const resultAfter = (ms: number) =>
    verdictOf(backAfter(ms), experimentOf(file)).rules.find(({ kind }) => kind === 'expectation');
  assert.deepEqual(
    [resultAfter(500)?.result, resultAfter(2_000)?.result],
    ['held', 'violated'],
    resultAfter(500)?.seen,
  );
});
