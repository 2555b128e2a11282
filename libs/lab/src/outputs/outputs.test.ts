import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { IoRecord, RunRecord } from '../record.ts';
import {
  type Change,
  changeStep,
  experimentOf,
  heldRecord,
  lossMs,
  operation,
  startedMs,
  testFile,
} from '../verdict/test-record.ts';
import { verdictOfRun } from '../verdict/verdict-of-run.ts';
import type { Verdict } from '../verdict.ts';
import { chaosToolkitJournal } from './chaos-toolkit-journal.ts';
import { type HistoryLine, historyLines } from './history-lines.ts';
import { junitXml } from './junit-xml.ts';
import { reportJson, reportOf } from './report-json.ts';
import { parseXml, type XmlElement } from './test-xml.ts';

const experiment = experimentOf(testFile);
const run = (change: Change = () => ({})): { readonly record: RunRecord; readonly verdict: Verdict } => {
  const held = heldRecord();
  const record = { ...held, ...change(held) };
  return { record, verdict: verdictOfRun(experiment, record) };
};
const violated: Change = () => ({ content: { disksCompared: 4, bytesCompared: 40_960, bytesLost: 512 } });
const vacuous: Change = () => ({ sightings: [] });
const inconclusive: Change = changeStep('give-back-loss', { error: 'refused' });
const aborted: Change = ({ run: facts }) => ({ run: { ...facts, abortedBy: 'control.failed > 0' } });
const neverStarted: Change = ({ run: { startedMs: _, endedMs: __, ...facts } }) => ({
  run: { ...facts, problems: ['the set-up failed: no space'] },
  steps: [],
  io: [],
  machines: [],
});

test('report.json has verdict, rules, figures, and steps with times after the start', () => {
  const { record, verdict } = run(violated);
  const report = JSON.parse(reportJson(experiment, record, verdict));
  assert.deepEqual([report.outcome, report.exitCode, report.bytesLost], ['violated', 1, 512]);
  assert.deepEqual(report.rules, JSON.parse(JSON.stringify(verdict.rules)));
  assert.equal(report.groups[0].stopped.max, 3_550);
  const loss = report.steps.find(({ name }: { readonly name: string }) => name === 'loss');
  assert.deepEqual([loss.plannedMs, loss.invokedMs, loss.effectMs, loss.undoes], [1_000, 1_004, 1_050, null]);
  assert.equal(report.run.startedAt, new Date(startedMs).toISOString());
  const never = run(neverStarted);
  const empty = JSON.parse(reportJson(experiment, never.record, never.verdict));
  assert.deepEqual([empty.outcome, empty.run.startedAt, empty.groups], ['inconclusive', null, []]);
});

test('docs/report.md names every field of report.json', () => {
  const { record, verdict } = run(violated);
  const page = readFileSync(new URL('../../../../docs/report.md', import.meta.url), 'utf8');
  const section = page.slice(page.indexOf('### report.json of an experiment'));
  const names = new Set<string>();
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(collect);
    else if (typeof value === 'object' && value !== null)
      for (const [name, inner] of Object.entries(value)) {
        names.add(name);
        if (name !== 'versions' && name !== 'settings') collect(inner);
      }
  };
  collect(reportOf(experiment, record, verdict));
  assert.ok(names.has('firstBreak') && names.has('p99') && names.has('exitCode'));
  assert.deepEqual(
    [...names].filter((name) => !section.includes(`\`${name}\``) && !section.includes(`\`${name}[]\``)),
    [],
  );
});

describe('junit.xml', () => {
  const suiteOf = (change?: Change): XmlElement => {
    const { record, verdict } = run(change);
    const root = parseXml(junitXml(experiment, record, verdict));
    assert.equal(root.name, 'testsuites');
    return root.children[0] ?? assert.fail();
  };
  const casesOf = (suite: XmlElement) => suite.children.filter(({ name }) => name === 'testcase');
  const faultsOf = (suite: XmlElement) =>
    casesOf(suite).flatMap(({ attributes, children }) =>
      children
        .filter(({ name }) => name !== 'system-out')
        .map(({ name, attributes: own }) => [attributes.classname, attributes.name, name, own.type]),
    );

  test('it has a test case for each rule and for the run, and figures as properties', () => {
    const suite = suiteOf();
    assert.equal(casesOf(suite).length, run().verdict.rules.length + 1);
    assert.deepEqual([suite.attributes.failures, suite.attributes.errors], ['0', '0']);
    assert.deepEqual([...new Set(casesOf(suite).map(({ attributes }) => attributes.classname))].sort(), [
      'control',
      'expectation',
      'guarantee',
      'proof',
      'run',
      'steady',
    ]);
    const properties = Object.fromEntries(
      (suite.children[0]?.children ?? []).map(({ attributes: { name, value } }) => [name, value]),
    );
    assert.equal(properties['premium.stopped.max.ms'], '3550');
    assert.equal(properties['ultra.stopped.max.ms'], undefined);
    assert.deepEqual([properties['control.role'], properties.outcome, properties.seed], ['control', 'held', '7']);
  });

  for (const [title, change, failures, errors, fault] of [
    ['a violated rule is a failure', violated, '1', '0', ['expectation', 'bytesLost == 0', 'failure', 'violated']],
    [
      'a rule that was not tested is an error',
      vacuous,
      '0',
      // The expectation that the ultra machine keeps running shows nothing without a refused use either.
      '2',
      ['proof', 'loss: unwrap-refused within 3s', 'error', 'vacuous'],
    ],
    [
      'a run that cannot be trusted is an error',
      inconclusive,
      '1',
      '2',
      ['run', 'the run can be trusted', 'error', 'inconclusive'],
    ],
    ['an aborted run is an error', aborted, '0', '1', ['run', 'the run can be trusted', 'error', 'aborted']],
  ] as const)
    test(title, () => {
      const suite = suiteOf(change);
      assert.deepEqual(
        faultsOf(suite).find(([, name]) => name === fault[1]),
        [...fault],
      );
      assert.deepEqual([suite.attributes.failures, suite.attributes.errors], [failures, errors]);
    });

  test('it is well-formed for any text, and keeps the characters that XML allows', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const { record, verdict } = run();
        const xml = junitXml({ ...experiment, title: text }, record, {
          ...verdict,
          because: text,
          rules: [{ kind: 'guarantee', text, result: 'violated', seen: text, firstBreak: text }],
        });
        const suite = parseXml(xml).children[0];
        const kept = text
          .toWellFormed()
          .replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '\u{FFFD}');
        assert.equal(suite?.attributes.name, kept);
      }),
      { numRuns: 40 },
    );
  });
});

test("journal.json has the fields, types and statuses of Chaos Toolkit's journal", () => {
  const journalOf = (change?: Change) => {
    const { record, verdict } = run(change);
    return JSON.parse(chaosToolkitJournal(experiment, record, verdict));
  };
  const journal = journalOf();
  for (const name of ['chaoslib-version', 'platform', 'node', 'start', 'end'])
    assert.equal(typeof journal[name], 'string', name);
  assert.equal(journal.duration, 15);
  assert.match(journal.start, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$/);
  assert.deepEqual(
    [journal.steady_states.before.steady_state_met, journal.steady_states.after.steady_state_met],
    [true, true],
  );
  assert.deepEqual(journal.steady_states.during, []);
  assert.deepEqual(
    journal.run.map(
      ({ activity, status, duration }: { activity: { name: string }; status: string; duration: number }) => [
        activity.name,
        status,
        duration,
      ],
    ),
    [
      ['pause-key-vault', 'succeeded', 0.056],
      ['loss', 'succeeded', 0.056],
      ['start-ultra', 'succeeded', 0.056],
    ],
  );
  assert.deepEqual(
    journal.rollbacks.map(({ activity }: { activity: { name: string } }) => activity.name),
    ['undo pause-key-vault', 'give-back-loss'],
  );
  for (const { activity } of [...journal.run, ...journal.rollbacks])
    assert.ok(activity.provider.type === 'process' && activity.type === 'action');
  for (const [change, status, deviated] of [
    [undefined, 'completed', false],
    [violated, 'failed', true],
    [vacuous, 'failed', false],
    [inconclusive, 'aborted', false],
    [aborted, 'interrupted', false],
    [neverStarted, 'failed', false],
  ] as const) {
    const one = journalOf(change);
    assert.deepEqual([one.status, one.deviated], [status, deviated]);
  }
  assert.deepEqual(journalOf(inconclusive).rollbacks[1].exception, ['refused']);
  assert.equal(journalOf(neverStarted).steady_states.before.steady_state_met, false);
});

describe('history.jsonl', () => {
  const linesOf = (io: readonly IoRecord[]): readonly HistoryLine[] =>
    historyLines({ ...heldRecord(), io }).map((line) => JSON.parse(line));

  test('each operation is invoked and completed once, in the order of the monotonic clock, with both clocks', () => {
    const { io, steps } = heldRecord();
    const lines = linesOf(io);
    assert.equal(lines.length, 2 * (io.length + steps.length));
    assert.deepEqual(
      lines.map(({ index }) => index),
      lines.map((_, index) => index),
    );
    for (const [index, { time }] of lines.entries())
      assert.ok(time >= (lines[index - 1]?.time ?? 0) && Number.isSafeInteger(time));
    const [first] = io;
    const [invoked] = lines.filter(({ process }) => process === 0);
    assert.deepEqual(
      [invoked?.type, invoked?.f, invoked?.value, invoked?.wall],
      ['invoke', 'write', [first?.disk, 1], first?.invokedMs],
    );
  });

  test('a failed read is `fail`, and a failed write is `info`, because it may have happened', () => {
    const [loss, write, read] = [lossMs + 10, lossMs + 20, lossMs + 30].map((atMs, index) =>
      operation('premium-1', atMs, {
        op: index === 2 ? 'read' : 'write',
        ok: index === 0,
        reason: index === 0 ? '' : 'KEY_DISABLED',
      }),
    );
    const completed = linesOf([loss, write, read].filter((one) => one !== undefined)).filter(
      ({ type, process }) => type !== 'invoke' && process !== 'nemesis',
    );
    assert.deepEqual(
      completed.map(({ type, error, value }) => [type, error, value[1]]),
      [
        ['ok', undefined, 999],
        ['info', 'KEY_DISABLED', 999],
        ['fail', 'KEY_DISABLED', null],
      ],
    );
  });

  test('with any overlap, a process has one operation in flight and none after info', () => {
    const io = fc.array(
      fc.record(
        {
          at: fc.nat(50),
          takes: fc.nat(20),
          ok: fc.boolean(),
          op: fc.constantFrom('read' as const, 'write' as const, 'flush' as const),
        },
        { noNullPrototype: true },
      ),
    );
    fc.assert(
      fc.property(io, (some) => {
        const lines = linesOf(
          some.map(({ at, takes, ok, op }) =>
            operation('premium-1', at, {
              ok,
              op,
              invokedMonotonicMs: at,
              completedMonotonicMs: at + takes,
              reason: ok ? '' : 'X',
            }),
          ),
        );
        for (const own of Map.groupBy(
          lines.filter(({ process }) => process !== 'nemesis'),
          ({ process }) => process,
        ).values()) {
          const types = own.map(({ type }) => type);
          assert.ok(
            types.every((type, index) => (index % 2 === 0) === (type === 'invoke')),
            types.join(),
          );
          assert.ok(!types.slice(0, -1).includes('info'), types.join());
        }
      }),
    );
  });
});
