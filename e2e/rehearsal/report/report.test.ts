import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Span } from '@interlock/lab/spans/span-store';
import { goodEvidence } from '../rules/test-evidence.ts';
import { judge } from '../rules/verdicts.ts';
import { renderPage } from './page.ts';
import { buildReport } from './report.ts';

const span = (service: string, spanId: string, parentSpanId?: string): Span => ({
  traceId: 'c'.repeat(32),
  spanId,
  parentSpanId,
  service,
  name: `${service} <work>`,
  kind: 'internal',
  startMs: 10_000,
  durationMs: 5,
  status: 'ok',
  statusMessage: '',
  attributes: {},
  links: [],
  events: [],
});

const traces = [
  { of: 'KEY_DISABLED', traceId: 'c'.repeat(32), spans: [span('key-vault', 'a'), span('compute', 'b', 'a')] },
];

const reportOf = (evidence: Parameters<typeof judge>[0], problems: readonly string[] = []) =>
  buildReport({
    scenario: 'test',
    startedAtMs: 1_000,
    durationMs: 1_234.5,
    verdicts: judge(evidence, problems),
    evidence,
    traces,
    versions: { node: 'v24' },
    problems,
  });

test('the report has the documented shape', () => {
  const report = reportOf(goodEvidence());
  assert.equal(report.schema, 1);
  assert.equal(report.verdict, 'pass');
  assert.equal(report.startedAt, '1970-01-01T00:00:01.000Z');
  assert.equal(report.durationMs, 1_235);
  const { proof, throughApi, ...compared } = report.dataReturned;
  assert.deepEqual(compared, { disks: 13, bytesCompared: 1_000_000, mismatches: 0 });
  assert.equal(proof.length + throughApi.length, 13, 'the count and the lists are of the same disks');
  assert.deepEqual(proof, goodEvidence().content.perDisk);
  assert.deepEqual(report.stopwatch[0], {
    cause: 'disable-key',
    reason: 'KEY_DISABLED',
    machines: 3,
    toLastGoodIoMs: { p50: 20, p95: 30, p99: 30, max: 30 },
    toStoppedMs: { p50: 200, p95: 300, p99: 300, max: 300 },
    toRunningMs: { p50: 400, p95: 600, p99: 600, max: 600 },
  });
  assert.equal(report.stopwatchTotal?.machines, 3 * report.stopwatch.length);
  assert.ok(report.firstMachineRanAt !== null && Date.parse(report.firstMachineRanAt) > 0);
  assert.deepEqual(report.traces, [
    { of: 'KEY_DISABLED', traceId: 'c'.repeat(32), spans: 2, services: ['key-vault', 'compute'] },
  ]);
  assert.deepEqual(
    report.revocations.map(({ cause }) => cause),
    ['KEY_DISABLED', 'KEY_DELETED', 'ACCESS_DENIED'],
  );
  const [disabled] = report.revocations;
  assert.deepEqual(disabled?.machines[0], {
    name: 'vm-hdd',
    diskClasses: ['STANDARD_HDD'],
    stopped: true,
    stoppedAfterMs: 90,
    lastGoodIoAfterMs: 20,
    reason: 'KEY_DISABLED',
  });
  assert.deepEqual(disabled?.machines.at(-1), {
    name: 'vm-other-key',
    diskClasses: [],
    stopped: false,
    stoppedAfterMs: null,
    lastGoodIoAfterMs: null,
    reason: '',
  });
});

test('percentiles count only machines that stopped, and are null if none did', () => {
  const evidence = goodEvidence();
  evidence.disabled.machines
    .filter(({ onLoss }) => onLoss === 'stops')
    .forEach((machine, index) => {
      machine.stoppedAt = 10_000 + (index + 1) * 10;
    });
  for (const machine of evidence.deleted.machines) machine.power = 'RUNNING';
  const [disabled, deleted] = reportOf(evidence).revocations;
  assert.deepEqual(disabled?.toStoppedMs, { p50: 30, p95: 50, max: 50 });
  assert.equal(deleted?.toStoppedMs, null);
});

test('one broken rule or one problem makes the verdict fail', () => {
  const evidence = goodEvidence();
  evidence.content.mismatches = 1;
  assert.equal(reportOf(evidence).verdict, 'fail');
  assert.equal(reportOf(goodEvidence(), ['the machines did not start']).verdict, 'fail');
  assert.equal(reportOf({}).verdict, 'fail');
});

test('the page loads nothing from outside, has every rule, and escapes texts', () => {
  const evidence = goodEvidence();
  evidence.vault.name = '<script>alert(1)</script>';
  const report = reportOf(evidence);
  const page = renderPage({ report, startedAtMs: 1_000, steps: [], journals: {}, evidence, traces });
  assert.doesNotMatch(page, /<script|<link|\bsrc=|\bhref=|@import|url\((?!#)/);
  assert.match(page, /&lt;script&gt;alert/);
  for (const { id } of report.rules) assert.ok(page.includes(id), id);
});

test('renders a page without any evidence', () => {
  const report = reportOf({}, ['it did not even begin']);
  const page = renderPage({ report, startedAtMs: 1_000, steps: [], journals: {}, evidence: {}, traces: [] });
  assert.match(page, /it did not even begin/);
});
