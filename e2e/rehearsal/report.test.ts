import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '@interlock/lab';
import { type ExperimentName, type ExperimentRun, experimentNamed, experimentNames } from './experiments.ts';
import { type Finding, finding, openFindings, type See } from './findings.ts';
import { renderPage } from './page.ts';
import { buildReport, type Played } from './report.ts';
import { type RuleId, rules } from './rules.ts';

/** A run with a verdict, and without any record. */
const runOf = (name: ExperimentName, verdict: Verdict): ExperimentRun => {
  const run = { id: name, target: 'existing', seed: 0, problems: [], versions: {} } as const;
  const content = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
  const record = { run, steps: [], machines: [], io: [], sightings: [], guarantees: [], content };
  return { experiment: experimentNamed(name).experiment, record, verdict, spans: [] };
};

const held: Verdict = {
  ...{ outcome: 'held', because: '', problems: [], rules: [], groups: [] },
  ...{ bytesCompared: 1, bytesLost: 0 },
};
const goodRuns = experimentNames.map((name) => runOf(name, held));
const one = {
  disk: 'disks/one',
  diskHost: 'disk-0',
  bytes: 4_096,
  acknowledged: 'a'.repeat(64),
  found: 'a'.repeat(64),
};
const proof = [one];
const dataReturned = { disks: 2, bytesCompared: 1_000_000, mismatches: 0, proof, throughApi: ['disks/two'] };
const good: Played = { problems: [], runs: goodRuns, firstMachineRanAtMs: 2_000, dataReturned };

const nothing: Played = { problems: [], runs: [], firstMachineRanAtMs: undefined, dataReturned: undefined };

/** The verdicts of a rehearsal in which every part showed the same. */
const verdictsOf = (shown: Finding) => {
  const findings = openFindings();
  for (const id of Object.keys(rules) as readonly RuleId[])
    for (const part of rules[id].parts) findings.see(id, part as Parameters<See>[1], shown);
  return findings.verdicts([]);
};
const goodVerdicts = verdictsOf(finding(true, 'as it should be'));

const reportOf = (played = good, verdicts = goodVerdicts) =>
  buildReport({
    ...{ scenario: 'test', startedAtMs: 1_000, durationMs: 1_234.5, versions: { node: 'v24' } },
    ...{ verdicts, played },
  });

test('the report has the documented shape', () => {
  const report = reportOf();
  assert.equal(report.schema, 2);
  assert.equal(report.verdict, 'pass');
  assert.equal(report.startedAt, '1970-01-01T00:00:01.000Z');
  assert.equal(report.durationMs, 1_235);
  assert.equal(report.firstMachineRanAt, '1970-01-01T00:00:02.000Z');
  assert.deepEqual(
    report.experiments.map(({ title, outcome }) => [title, outcome]),
    experimentNames.map((name) => [experimentNamed(name).experiment.title, 'held']),
  );
  assert.deepEqual(report.dataReturned, dataReturned);
});

test('one broken rule, one experiment that did not hold, or one problem makes the verdict fail', () => {
  const [first, ...others] = goodVerdicts;
  assert.ok(first);
  assert.equal(reportOf(good, [{ ...first, verdict: 'fail' }, ...others]).verdict, 'fail');
  for (const outcome of ['violated', 'inconclusive', 'vacuous', 'aborted'] as const) {
    const runs = [runOf('the-key-is-lost', held), runOf('every-way', { ...held, outcome })];
    assert.equal(reportOf({ ...good, runs }).verdict, 'fail', outcome);
  }
  assert.equal(reportOf({ ...good, problems: ['the machines did not start'] }).verdict, 'fail');
  assert.equal(reportOf(nothing, openFindings().verdicts([])).verdict, 'fail');
});

test('the page has the rules first, then each experiment; it loads nothing from outside and escapes texts', () => {
  const report = reportOf(good, verdictsOf(finding(true, '<script>alert(1)</script>')));
  const page = renderPage(report, goodRuns);
  assert.doesNotMatch(page, /<script|<link|\bsrc=|\bhref=|@import|url\((?!#)/);
  assert.match(page, /&lt;script&gt;alert/);
  const places = [...report.rules.map(({ id }) => id), ...goodRuns.map(({ experiment }) => experiment.title)].map(
    (text) => page.indexOf(`>${text}<`),
  );
  assert.ok(places.every((place) => place > 0));
  assert.deepEqual(
    places,
    places.toSorted((one, other) => one - other),
  );
});

test('the page names the disk host of each compared disk if there are several', () => {
  const pageOf = (...hosts: readonly string[]): string => {
    const compared = hosts.map((diskHost) => ({ ...one, diskHost }));
    return renderPage(reportOf({ ...good, dataReturned: { ...dataReturned, proof: compared } }), []);
  };
  assert.match(pageOf('disk-0', 'disk-2'), /<th>Disk host<\/th>[\s\S]*>disk-0<[\s\S]*>disk-2</);
  assert.doesNotMatch(pageOf('disk-0', 'disk-0'), /Disk host/);
});

test('renders a page without any evidence', () => {
  const report = reportOf({ ...nothing, problems: ['it did not even begin'] }, openFindings().verdicts([]));
  assert.match(renderPage(report, []), /it did not even begin/);
});
