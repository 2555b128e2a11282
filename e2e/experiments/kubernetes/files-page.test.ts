import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isFaultAction,
  type RunRecord,
  readExperiment,
  takesAccess,
  verdictLines,
  verdictOfRun,
  withChanges,
} from '@interlock/lab';
import { textOf } from '../../docs/sources.ts';
import { simulatedVariables } from '../simulated/settings.ts';
import { runSimulated } from '../simulated/test-runs.ts';
import { refusedThere } from './cluster-refusals.ts';
import { clusterTarget } from './cluster-target.ts';
import { defaultFacts, filesPage, isAccepted, shippedFiles, withFiles } from './files-page.ts';

const facts = await defaultFacts();
const files = shippedFiles(facts);
const accepted = files.filter(isAccepted);

test('the how-to page says of every experiment file what it needs in a cluster (npm run rules)', () => {
  const page = textOf(filesPage);
  assert.equal(withFiles(page, files), page);
});

test('the default overlay accepts at least six files that take a key or break a part, and can fail', () => {
  const target = clusterTarget({ context: undefined, namespace: 'interlock' }, { id: '', say: () => undefined });
  const proving = accepted.filter(({ experiment }) => {
    assert.deepEqual(target.refuse(experiment), []);
    assert.deepEqual(refusedThere(experiment, facts), []);
    const { timeline, expect, proof } = experiment;
    const isDisturbed = timeline.some(({ action }) => takesAccess(action) || isFaultAction(action));
    const canFail = expect.some(({ text }) => /\.(stopped|lastGood\w+|running|failed|gap) ?(<|==|$)/.test(text));
    return isDisturbed && proof.length > 0 && canFail;
  });
  assert.ok(proving.length >= 6, proving.map(({ name }) => name).join(', '));
});

test('two-keys-at-once runs on the default overlay with the settings that the page names', () => {
  const text = textOf('e2e/experiments/files/two-keys-at-once.experiment.yaml');
  const read = readExperiment(withChanges(text, ['leaseTtl=60s', 'authzTtl=5s'], undefined));
  assert.ok('experiment' in read);
  assert.deepEqual(refusedThere(read.experiment, facts), []);
});

/** The settings of the overlay that the simulation has too. */
const settings = Object.fromEntries(
  Object.entries(facts.settings).filter(([name]) => simulatedVariables.includes(name)),
);

/** The record of a cloud whose machines stop later than any lease and any bound of these files allow. */
const withLateStops = (record: RunRecord): RunRecord => ({
  ...record,
  machines: record.machines.map((machine) => ({
    ...machine,
    power: machine.power.map((one) => (one.state === 'stopped' ? { ...one, atMs: one.atMs + 200_000 } : one)),
  })),
});

for (const { name, experiment } of accepted) {
  test(`CMK-102, G1, G2, G3, G10: ${name}: the experiment holds in the simulation with the settings of a cluster, and fails for machines that stop late`, async () => {
    const record = await runSimulated({ ...experiment, settings });
    const verdict = verdictOfRun(experiment, record);
    assert.equal(verdict.outcome, 'held', verdictLines(verdict).join('\n'));
    assert.equal(verdictOfRun(experiment, withLateStops(record)).outcome, 'violated');
  });
}
