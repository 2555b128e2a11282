import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verdict } from '@interlock/lab';
import { type ExperimentName, type ExperimentRun, experimentNamed, experimentNames } from './experiments.ts';
import { renderPage } from './page.ts';
import { buildReport } from './report.ts';
import { goodEvidence } from './rules/test-evidence.ts';
import { judge } from './rules/verdicts.ts';

/** A run with a verdict, and without any record. */
const runOf = (name: ExperimentName, verdict: Verdict): ExperimentRun => {
  const run = { id: name, target: 'existing', seed: 0, problems: [], versions: {} } as const;
  const content = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
  const record = { run, steps: [], machines: [], io: [], sightings: [], guarantees: [], content };
  return { experiment: experimentNamed(name).experiment, record, verdict, spans: [] };
};

const { keyLost, everyWay } = goodEvidence();
const goodRuns = [runOf('the-key-is-lost', keyLost), runOf('every-way', everyWay)];

const reportOf = (
  evidence: Parameters<typeof judge>[0],
  runs: readonly ExperimentRun[] = goodRuns,
  problems: readonly string[] = [],
) =>
  buildReport({
    ...{ scenario: 'test', startedAtMs: 1_000, durationMs: 1_234.5, versions: { node: 'v24' } },
    ...{ verdicts: judge(evidence, problems), evidence, runs, problems },
  });

test('the report has the documented shape', () => {
  const report = reportOf(goodEvidence());
  assert.equal(report.schema, 2);
  assert.equal(report.verdict, 'pass');
  assert.equal(report.startedAt, '1970-01-01T00:00:01.000Z');
  assert.equal(report.durationMs, 1_235);
  assert.equal(report.firstMachineRanAt, report.startedAt, 'the good evidence has machines from that moment');
  assert.deepEqual(
    report.experiments.map(({ title, outcome }) => [title, outcome]),
    experimentNames.map((name) => [experimentNamed(name).experiment.title, 'held']),
  );
  const { proof, throughApi, ...compared } = report.dataReturned;
  assert.deepEqual(compared, { disks: 13, bytesCompared: 1_000_000, mismatches: 0 });
  assert.equal(proof.length + throughApi.length, 13, 'the count and the lists are of the same disks');
});

test('one broken rule, one experiment that did not hold, or one problem makes the verdict fail', () => {
  const evidence = goodEvidence();
  evidence.content.mismatches = 1;
  assert.equal(reportOf(evidence).verdict, 'fail');
  for (const outcome of ['violated', 'inconclusive', 'vacuous', 'aborted'] as const) {
    const runs = [runOf('the-key-is-lost', keyLost), runOf('every-way', { ...everyWay, outcome })];
    assert.equal(reportOf(goodEvidence(), runs).verdict, 'fail', outcome);
  }
  assert.equal(reportOf(goodEvidence(), goodRuns, ['the machines did not start']).verdict, 'fail');
  assert.equal(reportOf({}, []).verdict, 'fail');
});

test('the page has the rules first, then each experiment; it loads nothing from outside and escapes texts', () => {
  const evidence = goodEvidence();
  evidence.vault.name = '<script>alert(1)</script>';
  const report = reportOf(evidence);
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

test('renders a page without any evidence', () => {
  const report = reportOf({}, [], ['it did not even begin']);
  assert.match(renderPage(report, []), /it did not even begin/);
});
