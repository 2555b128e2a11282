import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskHostOf } from '../../experiment.ts';
import { reportPage } from './report-page.ts';
import { type Case, cases, startMs } from './test-records.ts';

const pageOf = ({ experiment, record, verdict }: Case): string => reportPage(experiment, record, verdict);

/** The text that a reader sees, without styles, tags and entities. */
const textOf = (page: string): string =>
  page
    .replace(/<style>[\s\S]*?<\/style>/g, '')
    .replace(/<[^>]*>/g, ' ')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
    .replaceAll('&#39;', "'")
    .replace(/\s+/g, ' ');

const headlineOf = (page: string): string => /<h1>(.*?)<\/h1>/s.exec(page)?.[1] ?? '';

test('the headline is the verdict in one sentence, with the maximum, not the median', () => {
  assert.equal(
    headlineOf(pageOf(cases.held)),
    'It held: the last machine was off 4.92 s after access was lost, and every byte came back.',
  );
  assert.equal(
    headlineOf(pageOf(cases.violated)),
    'It did not hold: 1 of 15 rules failed; the last machine was off 11.57 s after access was lost.',
  );
  for (const outcome of ['aborted', 'inconclusive', 'vacuous'] as const)
    assert.match(headlineOf(pageOf(cases[outcome])), /proves nothing/, outcome);
});

test('the headline names lost bytes, and does not claim that every byte came back if none was compared', () => {
  const { experiment, record, verdict } = cases.violated;
  const lost = reportPage(experiment, record, { ...verdict, bytesLost: 4_096 });
  assert.match(headlineOf(lost), /4,096 bytes were lost/);
  const uncompared = reportPage(experiment, record, { ...cases.held.verdict, bytesCompared: 0 });
  assert.doesNotMatch(headlineOf(uncompared), /every byte/);
});

test('every page loads nothing from outside and escapes texts', () => {
  for (const [outcome, one] of Object.entries(cases)) {
    const title = '<script>alert(1)</script>';
    const page = pageOf({ ...one, experiment: { ...one.experiment, title } });
    assert.doesNotMatch(page, /<script|<link|<img|\bsrc=|\bhref=|@import|url\((?!#)/, outcome);
    assert.match(page, /&lt;script&gt;alert/, outcome);
  }
});

test('the page has every rule with its measured value; guarantees that hold are counted', () => {
  for (const [outcome, one] of Object.entries(cases)) {
    const text = textOf(pageOf(one));
    for (const rule of one.verdict.rules.filter(({ kind }) => kind !== 'guarantee')) {
      assert.ok(text.includes(rule.text), `${outcome}: ${rule.text}`);
      assert.ok(text.includes(`Measured: ${rule.seen}`), `${outcome}: ${rule.seen}`);
    }
    assert.match(text, /G1 3 G5 3/);
  }
});

test('the page starts with the expectation that failed, as a sentence, with its measured value', () => {
  const [, opening = ''] = /<h1>.*?<\/h1>\s*<p>(.*?)<\/p>/s.exec(pageOf(cases.violated)) ?? [];
  assert.match(
    opening,
    /^Expected, and not so: the last good write of premium completes at most 3 s after “loss” takes effect\. Measured: 7\.07 s \(premium-2\)\./,
  );
});

test('a violated rule names the first operation that broke it; a violated guarantee names its subject', () => {
  const text = textOf(pageOf(cases.violated));
  assert.match(text, /violated The last good write of premium completes at most 3 s after “loss” takes effect\./);
  assert.match(text, /First broken by: write 84 of disk premium-2-0 by premium-2/);
  const { verdict } = cases.violated;
  const rules = verdict.rules.map((rule) =>
    rule.text === 'G1 premium-1' ? { ...rule, result: 'violated' as const, firstBreak: 'read 7' } : rule,
  );
  const page = textOf(pageOf({ ...cases.violated, verdict: { ...verdict, rules } }));
  assert.match(page, /violated G1 premium-1 Measured: .* First broken by: read 7/);
  assert.match(page, /G1 2 G5 3/);
});

test('a run that proves nothing has the reason and what to do', () => {
  assert.match(textOf(pageOf(cases.aborted)), /abort condition control: failed > 0 was met 9\.00 s after the start/);
  assert.match(textOf(pageOf(cases.inconclusive)), /“loss” was injected 740 ms late; 500 ms are allowed/);
  assert.match(textOf(pageOf(cases.vacuous)), /ultra\.running : group ultra has no machines/);
  for (const [outcome, one] of Object.entries(cases)) {
    const provesNothing = !['held', 'violated'].includes(outcome);
    assert.equal(/Why this run proves nothing.*What to do:/.test(textOf(pageOf(one))), provesNothing, outcome);
  }
});

test('shows when each injection was planned, called, effective and undone, and how late it was', () => {
  const text = textOf(pageOf(cases.held));
  assert.match(text, /premium: role removed loss 0\.20 s 0\.20 s 0\.23 s 20\.03 s/);
  assert.match(text, /nats killed kill nats 0\.00 s 0\.00 s 0\.03 s 12\.03 s/);
  assert.match(textOf(pageOf(cases.inconclusive)), /role removed loss 0\.20 s 0\.94 s 740 ms late/);
  const { record } = cases.held;
  const steps = record.steps.map((step) => (step.name === 'give-back loss' ? { ...step, error: 'UNAVAILABLE' } : step));
  assert.match(textOf(pageOf({ ...cases.held, record: { ...record, steps } })), /failed: UNAVAILABLE/);
});

test('the treatment group comes before the control group, each with maximum, p95 and p50', () => {
  const text = textOf(pageOf(cases.held));
  assert.match(text, /premium treatment · 2 machines 2\.12 s p95 2\.12 s p50 2\.00 s 2\.18 s/);
  assert.match(text, /ultra treatment .* control control: nothing was done to it/);
  assert.match(text, /48\.3 MB compared with what the guests recorded, 0 bytes lost/);
});

test('the page ends with seed, settings and versions, and also exists for a timeline that did not start', () => {
  assert.match(textOf(pageOf(cases.held)), /seed 7\. Settings: LEASE_TTL_MS=2000 AUTHZ_TTL_MS=1000 Versions: node v24/);
  const { experiment, record, verdict } = cases.inconclusive;
  const { startedMs: _, endedMs: __, ...run } = record.run;
  const page = reportPage(experiment, { ...record, run, steps: [], machines: [], io: [] }, { ...verdict, groups: [] });
  assert.match(textOf(page), /The timeline never started.*Nothing was recorded.*Nothing was injected/);
});

test('draws the trace of a step if its spans were received', () => {
  const { experiment, record, verdict } = cases.held;
  const span = {
    traceId: 'c'.repeat(32),
    spanId: 'a'.repeat(16),
    parentSpanId: undefined,
    service: 'identity',
    name: 'interlock.identity.v1.IdentityService/DeleteRoleAssignment',
    kind: 'server',
    startMs: 1,
    durationMs: 5,
    status: 'ok',
    statusMessage: '',
    attributes: {},
    links: [],
    events: [],
  } as const;
  const text = textOf(reportPage(experiment, record, verdict, [span, { ...span, traceId: 'd'.repeat(32) }]));
  assert.match(text, /role removed \(loss\): 1 pieces of work in 1 services/);
  assert.match(text, /identity DeleteRoleAssignment/);
  assert.doesNotMatch(textOf(pageOf(cases.held)), /How the decision travelled/);
});

test('a group that keeps running does not count for the last write, and its stop is "never"', () => {
  const { experiment, record, verdict } = cases.held;
  const groups = verdict.groups.map((group) =>
    group.group === 'ultra' ? { ...group, lastGoodWrite: { ...group.lastGoodWrite, count: 1, max: 29_000 } } : group,
  );
  const text = textOf(reportPage(experiment, record, { ...verdict, groups }));
  assert.match(text, /2\.18 s from the access loss to the last write that succeeded/);
  assert.match(text, /ultra treatment · 1 machine – 29\.00 s never/);
});

test('the hypothesis starts with the description of the file', () => {
  const { experiment, record, verdict } = cases.held;
  const text = textOf(reportPage({ ...experiment, description: 'Leases end access.' }, record, verdict));
  assert.match(text, /The hypothesis Leases end access\. While this happens/);
});

test('shows the last lines on the consoles of machines in QEMU', () => {
  const { experiment, record, verdict } = cases.held;
  const [first, ...rest] = record.machines;
  assert.ok(first !== undefined);
  const machines = [{ ...first, console: ['interlock: booted in 3.9 s', '<b>EXT4-fs error</b>'] }, ...rest];
  const page = reportPage(experiment, { ...record, machines }, verdict);
  assert.match(page, /interlock: booted in 3\.9 s\n&lt;b&gt;EXT4-fs error/);
  assert.doesNotMatch(pageOf(cases.held), /serial console/);
});

test('with disk hosts, the page names the host of each machine, the number of a disturbed host, and how it delayed the slowest stop', () => {
  const { experiment, record, verdict } = cases.held;
  const pause = { name: 'pause-host', action: 'pause', targets: [diskHostOf('premium')] } as const;
  const timeline = [
    { ...pause, atMs: 0, options: {}, line: 11 },
    ...experiment.timeline.filter(({ name }) => name === 'loss'),
  ];
  const at = (ms: number) => ({ plannedMs: startMs + ms, invokedMs: startMs + ms, effectMs: startMs + ms });
  const steps = [
    { ...pause, hosts: ['disk-host-1'], ...at(0) },
    ...record.steps.filter(({ name }) => name === 'loss' || name === 'give-back loss'),
    { ...pause, name: 'undo pause-host', undoes: 'pause-host', ...at(5_000) },
  ];
  const pageWith = (host: string): string => {
    const machines = record.machines.map((machine) => ({
      ...machine,
      disks: machine.disks.map((disk) => ({ ...disk, diskHost: machine.group === 'premium' ? host : 'disk-host-0' })),
    }));
    return textOf(reportPage({ ...experiment, timeline }, { ...record, steps, machines }, verdict));
  };
  const text = pageWith('disk-host-1');
  assert.match(
    text,
    /premium-2 stopped last.* disk-host-1 was disturbed until 150 ms before \(“pause-host”\): it has disks of the machine/,
  );
  assert.match(text, /premium-1 · disk-host-1 /);
  assert.match(text, /pause-host · disk-host-1/);
  assert.match(pageWith('disk-host-2'), /premium-2 stopped last.* No part was disturbed/);
  assert.doesNotMatch(pageWith('disk-host-0'), /premium-1 · /, 'all disks are on one host');
});

test('the page says why the slowest machine stopped when it did, and why operations of a control failed', () => {
  const { experiment, record, verdict } = cases.held;
  const control = record.machines.find(({ group }) => group.startsWith('control'));
  const one = record.io.find(({ machine }) => machine === control?.name);
  assert.ok(one !== undefined && record.run.startedMs !== undefined);
  const failed = { ...one, ok: false, reason: 'STORE_UNAVAILABLE', completedMs: record.run.startedMs + 3_000 };
  const text = textOf(reportPage(experiment, { ...record, io: [...record.io, failed] }, verdict));
  assert.match(text, /stopped last, [\d.]+ s after the loss, for [A-Z_]+\. \S/);
  assert.match(text, /control: one operation failed with STORE_UNAVAILABLE; the first was \w+ \d+ of control-1/);
});
