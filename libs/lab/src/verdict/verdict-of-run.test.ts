import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MachineRecord } from '../record.ts';
import { exitCodes, type Outcome } from '../verdict.ts';
import {
  backMs,
  type Change,
  changeIo,
  changeMachine,
  changeStep,
  experimentOf,
  heldRecord,
  lossMs,
  nameOf,
  operation,
  startedMs,
  testFile,
  verdictOf,
} from './test-record.ts';
import { verdictOfRun } from './verdict-of-run.ts';

const experiment = experimentOf(testFile);

test('if every rule held, the verdict is held, with figures of treatment and control', () => {
  const verdict = verdictOf();
  assert.deepEqual(
    verdict.rules.filter(({ result }) => result !== 'held'),
    [],
  );
  assert.deepEqual(verdict.problems, []);
  assert.equal(verdict.outcome, 'held');
  assert.match(verdict.because, /^All 12 rules held; the last machine stopped 3\.55 s after the loss\.$/);
  const [premium, ultra, control] = verdict.groups;
  assert.deepEqual(
    [premium?.role, premium?.machines, premium?.stopped.max, premium?.stopped.p50],
    ['treatment', 2, 3_550, 3_150],
  );
  assert.deepEqual([premium?.lastGoodWrite.max, premium?.lastGoodRead.max], [1_155, 1_255]);
  assert.deepEqual([premium?.back.count, premium?.back.max], [2, 1_405]);
  assert.deepEqual([ultra?.stopped.count, ultra?.back.count], [0, 0]);
  assert.deepEqual(
    [control?.role, control?.stopped.count, control?.gap.max, control?.failedOperations],
    ['control', 0, 100, 0],
  );
});

test('a machine that stopped in the same millisecond as the loss counts as stopped by it', () => {
  const at = (power: MachineRecord['power']): MachineRecord['power'] =>
    power.map((one) => (one.state === 'stopping' || one.state === 'stopped' ? { ...one, atMs: lossMs } : one));
  const { machines, ...rest } = heldRecord();
  const record = {
    ...rest,
    machines: machines.map((one) => (one.group === 'premium' ? { ...one, power: at(one.power) } : one)),
  };
  const [premium] = verdictOfRun(experiment, record).groups;
  assert.deepEqual([premium?.stopped.count, premium?.stopped.max], [2, 0]);
});

test('a deallocated machine is a proof of machine-stopped', () => {
  const file = testFile
    .replace('{at: 5s, start: ultra}', '{at: 5s, stop: ultra, as: off}')
    .replace('within: 3s}]', 'within: 3s}, {of: off, see: machine-stopped, within: 1s}]');
  const atMs = startedMs + 5_500;
  const off = changeMachine('ultra-1', ({ power }) => ({
    power: [...power, { atMs, state: 'deallocated', reason: '', traceId: '' }],
  }));
  const record = heldRecord();
  const steps = record.steps.map((step) =>
    step.name === 'start-ultra' ? { ...step, name: 'off', action: 'stop', effectMs: startedMs + 5_004 } : step,
  );
  const { rules } = verdictOfRun(experimentOf(file), { ...record, ...off(record), steps });
  const proof = rules.find(({ text }) => text === 'off: machine-stopped within 1s');
  assert.deepEqual([proof?.result, proof?.seen], ['held', 'ultra-1 deallocated (by its user), 496 ms after off']);
});

test('a record that was stored as JSON gives the same verdict', () => {
  const record = heldRecord();
  assert.deepEqual(verdictOfRun(experiment, JSON.parse(JSON.stringify(record))), verdictOfRun(experiment, record));
});

/** Title, defect of the run, outcome, rule or problem with the reason. */
const defects: readonly (readonly [string, Change, Outcome, RegExp])[] = [
  [
    'fault not injected: the step is missing',
    ({ steps }) => ({ steps: steps.filter(({ name }) => name !== 'loss') }),
    'inconclusive',
    /"loss" was not injected/,
  ],
  [
    'fault not injected: the step had no effect',
    ({ steps }) => ({
      steps: steps.map(({ effectMs, ...step }) =>
        step.name === 'loss' || effectMs === undefined ? step : { ...step, effectMs },
      ),
    }),
    'inconclusive',
    /"loss" took no key away/,
  ],
  [
    'fault not injected: the fault of a part is missing',
    ({ steps }) => ({ steps: steps.filter(({ targets }) => targets[0] !== 'key-vault') }),
    'inconclusive',
    /"pause-key-vault" was not injected/,
  ],
  [
    'fault not injected: nothing shows that it took effect',
    () => ({ sightings: [] }),
    'vacuous',
    /unwrap-refused was never seen/,
  ],
  [
    'fault seen too late',
    ({ sightings }) => ({ sightings: sightings.map((one) => ({ ...one, atMs: lossMs + 3_001 })) }),
    'vacuous',
    /3\.00 s after loss/,
  ],
  [
    'sighting of another key',
    ({ sightings }) => ({ sightings: sightings.map((one) => ({ ...one, subject: 'vaults/x' })) }),
    'vacuous',
    /unwrap-refused was never seen/,
  ],
  [
    'probe without data: a machine recorded nothing',
    changeIo((one) => (one.machine === nameOf('premium-2') ? undefined : one)),
    'vacuous',
    /premium-2 did no good I\/O in the 2 s before the loss/,
  ],
  [
    'probe without data: all I/O failed before the loss',
    changeIo((one) => (one.machine === nameOf('ultra-1') ? { ...one, ok: false, reason: 'UNAVAILABLE' } : one)),
    'vacuous',
    /ultra-1 did no good I\/O/,
  ],
  [
    'probe without data: none in the 2 s before the loss',
    changeIo((one) =>
      one.machine === nameOf('ultra-1') && one.completedMs > lossMs - 2_100 && one.completedMs <= lossMs
        ? undefined
        : one,
    ),
    'vacuous',
    /ultra\.running was never put to the test: ultra-1 did no good I\/O in the 2 s before the loss/,
  ],
  [
    'probe without data: the control',
    changeIo((one) => (one.machine === nameOf('control-1') && one.completedMs > startedMs ? undefined : one)),
    'violated',
    /control\.gap <= 1s does not hold/,
  ],
  [
    'probe without data: the control before the start',
    changeIo((one) => (one.machine === nameOf('control-1') && one.completedMs < startedMs ? undefined : one)),
    'vacuous',
    /control: I\/O before and during/,
  ],
  [
    'probe without data: no machines in the record',
    ({ machines }) => ({ machines: machines.filter(({ group }) => group !== 'control') }),
    'inconclusive',
    /0 of 1 machines of control/,
  ],
  [
    'probe without data: nothing compared',
    () => ({ content: { disksCompared: 0, bytesCompared: 0, bytesLost: 0 } }),
    'vacuous',
    /no content was compared/,
  ],
  [
    'probe without data: the oracle checked nothing',
    () => ({ guarantees: [] }),
    'vacuous',
    /the oracle checked no rule/,
  ],
  [
    'failing undo',
    changeStep('give-back-loss', { error: 'key-vault is unreachable' }),
    'inconclusive',
    /"give-back-loss" failed: key-vault is unreachable/,
  ],
  [
    'missing undo',
    ({ steps }) => ({ steps: steps.filter(({ undoes }) => undoes !== 'pause-key-vault') }),
    'inconclusive',
    /"pause-key-vault" was not undone/,
  ],
  [
    'control under the treated key',
    changeMachine('control-1', ({ disks }) => ({
      disks: disks.map((disk) => ({ ...disk, keyVersion: 'vaults/k1/keys/k1/versions/1' })),
    })),
    'inconclusive',
    /the control control-1 has a disk under the key that "loss" took/,
  ],
  [
    'an earlier failure is not forgotten: the undo was repeated',
    ({ steps }) => ({
      steps: [
        ...steps.map((step) => (step.name === 'give-back-loss' ? { ...step, error: 'refused' } : step)),
        ...steps.filter(({ name }) => name === 'give-back-loss'),
      ],
    }),
    'inconclusive',
    /"give-back-loss" failed: refused/,
  ],
  [
    'an earlier failure is not forgotten: the rule held later',
    ({ guarantees }) => ({
      guarantees: [
        { rule: 'G1', subject: 'premium-1', holds: false, seen: 'write 7 succeeded after the bound' },
        ...guarantees,
      ],
    }),
    'violated',
    /G1 premium-1 does not hold: write 7/,
  ],
  [
    'an earlier failure is not forgotten: the abort condition was met and the run continued',
    ({ io }) => ({ io: [...io, operation('control-1', startedMs + 900, { ok: false, reason: 'UNAVAILABLE' })] }),
    'aborted',
    /control\.failed > 0 was met/,
  ],
  [
    'wrong t0: later than the first stop',
    (record) => ({
      ...changeStep('loss', { effectMs: startedMs + 4_300, doneMs: startedMs + 4_300 })(record),
      sightings: [],
    }),
    'inconclusive',
    /t0 of "loss" is wrong: premium-1 was stopping \(ACCESS_DENIED\) 300 ms before t0/,
  ],
  [
    'wrong t0: later than the first refused operation',
    (record) => ({
      ...changeStep('loss', { effectMs: startedMs + 3_000, doneMs: startedMs + 3_000 })(record),
      sightings: [],
      io: [...record.io, operation('premium-2', startedMs + 2_900, { ok: false, reason: 'ACCESS_DENIED' })],
    }),
    'inconclusive',
    /t0 of "loss" is wrong: write 999 of premium-2 .* was refused 100 ms before t0/,
  ],
  [
    'wrong t0: later than the first refused use of the key',
    changeStep('loss', { effectMs: startedMs + 2_000, doneMs: startedMs + 2_010 }),
    'inconclusive',
    /t0 of "loss" is wrong: a use of the key was refused \(set k1: ACCESS_DENIED\) 550 ms before t0/,
  ],
  [
    'wrong t0: after the call had ended',
    changeStep('loss', { effectMs: startedMs + 1_600 }),
    'inconclusive',
    /t0 of "loss" is 540 ms after its call had ended/,
  ],
  [
    'wrong t0: before the injection',
    changeStep('loss', { effectMs: startedMs + 400 }),
    'inconclusive',
    /t0 of "loss" is 604 ms before its injection/,
  ],
  [
    'late injection',
    changeStep('loss', { invokedMs: startedMs + 1_501, effectMs: startedMs + 1_510 }),
    'inconclusive',
    /"loss" was injected 501 ms late/,
  ],
  [
    'late effect: the call took until the time of the give-back',
    changeStep('loss', { effectMs: startedMs + 60_000, doneMs: startedMs + 60_000 }),
    'inconclusive',
    /"loss" took the key 59\.00 s late, when it was to be given back/,
  ],
  [
    'failed set-up',
    ({ run: { startedMs: _, ...run } }) => ({ run: { ...run, problems: ['the set-up failed: no space'] } }),
    'inconclusive',
    /no space/,
  ],
  ['run without an end', ({ run: { endedMs: _, ...run } }) => ({ run }), 'inconclusive', /the run did not end/],
  [
    'aborted',
    ({ run }) => ({ run: { ...run, abortedBy: 'control.failed > 0' } }),
    'aborted',
    /^The abort condition control\.failed > 0 was met/,
  ],
];

describe('a lab defect never gives `held`', () => {
  for (const [title, change, outcome, why] of defects)
    test(title, () => {
      const verdict = verdictOf(change);
      assert.equal(verdict.outcome, outcome, verdict.because);
      assert.match([verdict.because, ...verdict.problems].join('\n'), why);
      assert.notEqual(exitCodes[verdict.outcome], 0);
    });
});

/** Title, change of the record, text of the expectation, measured value, first break. */
const breaks: readonly (readonly [string, Change, string, RegExp, RegExp])[] = [
  [
    'a write after the bound',
    ({ io }) => ({
      io: [...io, operation('premium-1', lossMs + 3_400), operation('premium-2', lossMs + 3_200, { seq: 77 })],
    }),
    'premium.lastGoodWrite <= loss + 3s',
    /3\.40 s after loss: write 999 of premium-1/,
    /write 77 of premium-2 on premium-2-d0 succeeded 3\.20 s after loss/,
  ],
  [
    'a machine that never stopped',
    changeMachine('premium-2', ({ power }) => ({ power: power.slice(0, 1) })),
    'premium.stopped <= key-vault.resumed + 5s',
    /premium-2 never stopped/,
    /premium-2 never stopped/,
  ],
  [
    'a late stop',
    changeMachine('premium-2', ({ power }) => ({
      power: power.map((one) => (one.state === 'stopped' ? { ...one, atMs: startedMs + 7_100 } : one)),
    })),
    'premium.stopped <= key-vault.resumed + 5s',
    /5\.04 s after key-vault\.resumed/,
    /premium-2 stopped \(ACCESS_DENIED\), 5\.04 s after/,
  ],
  [
    'an interruption',
    changeMachine('ultra-1', ({ power }) => ({
      power: [
        ...power,
        { atMs: startedMs + 1_500, state: 'stopping', reason: 'ACCESS_DENIED', traceId: '' },
        { atMs: startedMs + 1_600, state: 'stopped', reason: 'ACCESS_DENIED', traceId: '' },
        { atMs: startedMs + 11_000, state: 'running', reason: '', traceId: '' },
      ],
    })),
    'ultra.running',
    /ultra-1 stopping \(ACCESS_DENIED\) 1\.50 s after the start/,
    /ultra-1 stopping/,
  ],
  [
    'a control whose I/O ends early',
    changeIo((one) => (one.machine === nameOf('control-1') && one.completedMs > startedMs + 13_900 ? undefined : one)),
    'control.gap <= 1s',
    /control\.gap = 1\.20 s/,
    /control-1-d0 of control-1 had no good operation for 1\.20 s, from 13\.\d+ s after the start/,
  ],
  [
    'lost bytes',
    () => ({ content: { disksCompared: 4, bytesCompared: 40_960, bytesLost: 512 } }),
    'bytesLost == 0',
    /512 of 40960 bytes on 4 disks/,
    /512 acknowledged bytes/,
  ],
  [
    'a machine that does not come back',
    changeMachine('premium-1', ({ power }) => ({ power: power.slice(0, 4) })),
    'premium.back <= 5s',
    /premium-1 never ran again/,
    /premium-1 never ran again/,
  ],
  [
    'a machine that runs again without I/O',
    changeIo((one) => (one.machine === nameOf('premium-1') && one.completedMs > backMs ? undefined : one)),
    'premium.back <= 5s',
    /premium-1 runs again without I\/O/,
    /without I\/O/,
  ],
];

describe('a violated expectation has the measured value and its first break', () => {
  for (const [title, change, text, seen, firstBreak] of breaks)
    test(title, () => {
      const verdict = verdictOf(change);
      assert.equal(verdict.outcome, 'violated', verdict.because);
      const violated = verdict.rules.filter(({ result }) => result === 'violated');
      assert.deepEqual(
        violated.map((rule) => rule.text),
        [text],
      );
      assert.match(violated[0]?.seen ?? '', seen);
      assert.match(violated[0]?.firstBreak ?? '', firstBreak);
    });
});

test('a violated guarantee takes precedence over an inconclusive run; a violated expectation does not', () => {
  const late = changeStep('loss', { invokedMs: startedMs + 1_600, effectMs: startedMs + 1_610 });
  const broken: Change = (record) => ({
    ...late(record),
    guarantees: [{ rule: 'G5', subject: 'd', holds: false, seen: 'lost' }],
  });
  assert.equal(verdictOf(broken).outcome, 'violated');
  const lost: Change = (record) => ({
    ...late(record),
    content: { disksCompared: 1, bytesCompared: 10, bytesLost: 1 },
  });
  assert.equal(verdictOf(lost).outcome, 'inconclusive');
});

test('a run without expectations and guarantees is vacuous', () => {
  const nothing = experimentOf(testFile.replace(/expect:[\s\S]*$/, ''));
  assert.equal(verdictOf(() => ({}), nothing).outcome, 'held', 'the guarantees of the oracle are rules too');
  const faults = experimentOf(`
title: no loss
estate: {premium: {machines: 2, disks: [premium-ssd], key: k1}}
timeline: [{at: 0s, pause: key-vault, for: 2s}]
`);
  const verdict = verdictOf(
    ({ machines, steps }) => ({
      guarantees: [],
      machines: machines.slice(0, 2),
      steps: steps.filter(({ targets }) => targets[0] === 'key-vault'),
    }),
    faults,
  );
  assert.equal(verdict.outcome, 'vacuous', verdict.because);
  assert.match(verdict.because, /the file expects nothing/);
});

test('a t0 is at most 50 ms outside of its call', () => {
  const of = (effectMs: number) => verdictOf(changeStep('loss', { effectMs })).problems.join();
  const doneMs = startedMs + 1_060;
  assert.equal(of(doneMs + 50), '');
  assert.match(of(doneMs + 51), /t0 of "loss" is 51 ms after its call had ended/);
  assert.match(of(startedMs + 1_004 - 51), /t0 of "loss" is 51 ms before its injection/);
});

test('a fault that is over before everything that it could disturb is a rule without a test', () => {
  const late = { invokedMs: startedMs + 11_700, effectMs: startedMs + 11_700, doneMs: startedMs + 11_700 };
  const moved =
    (change: object): Change =>
    ({ steps }) => ({
      steps: steps.map((step) => (step.name.endsWith('pause-key-vault') ? { ...step, ...change } : step)),
    });
  const without = experimentOf(
    testFile.replace('ultra.running', 'premium.failed >= 1').replace('control.gap <= 1s', 'control.failed <= 2'),
  );
  const ruleIn = (change: Change, of = without) =>
    verdictOf(change, of).rules.find(({ text }) => text === 'pause-key-vault could disturb something');
  assert.equal(
    ruleIn(() => ({})),
    undefined,
  );
  assert.equal(ruleIn(moved(late))?.result, undefined, 'control.failed covers the whole timeline');
  const nothing = experimentOf(testFile.replace('  - ultra.running\n', '').replace('  - control.gap <= 1s\n', ''));
  assert.equal(
    ruleIn(() => ({}), nothing),
    undefined,
  );
  assert.match(
    ruleIn(moved({ ...late, invokedMs: startedMs + 60_000, effectMs: startedMs + 60_000 }), nothing)?.seen ?? '',
    /when everything was over/,
  );
  // Premium runs on until its key is lost 1 s after the start.
  const early = { invokedMs: startedMs - 20_000, effectMs: startedMs - 20_000, doneMs: startedMs - 20_000 };
  assert.match(ruleIn(moved(early), nothing)?.seen ?? '', /ended before anything/);
  const covered = experimentOf(
    testFile.replace('ultra.running', 'premium.failed >= 1').replace('  - control.gap <= 1s\n', ''),
  );
  assert.match(ruleIn(moved(early), covered)?.seen ?? '', /ended before anything/, 'no lease was renewed in 0 ms');
  const lasting: Change = ({ steps }) => ({
    steps: steps.map((step) => {
      if (!step.name.endsWith('pause-key-vault')) return step;
      return { ...step, ...early, ...(step.undoes && { doneMs: startedMs + 20_000, effectMs: startedMs + 20_000 }) };
    }),
  });
  assert.equal(ruleIn(lasting, covered)?.result, undefined, 'premium.failed covers the time before its loss');
});
