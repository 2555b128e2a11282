import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import {
  baselineNames,
  checkDataset,
  predictionOf,
  readRun,
  score,
  scoredEdges,
  traceMeasures,
  writeRun,
} from '@interlock/lab/dataset';
import { comparedData } from '@interlock/lab/judge/causes/compared-data';
import { SCHEMA_URL } from '@interlock/runtime';
import { assertOtlp } from '../../../libs/lab/src/dataset/format/test-otlp-protobuf.ts';
import { recordRun } from './record-run.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-record-'));
after(() => rmSync(root, { recursive: true, force: true }));

const file = new URL('../files/no-events.experiment.yaml', import.meta.url);

/** Records a simulated run. @returns its folder, and SHA-256 of its manifest */
const record = async (seed: number, name: string): Promise<{ readonly folder: string; readonly sha256: string }> => {
  const text = readFileSync(file, 'utf8');
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const { signal } = new AbortController();
  const { experiment } = read;
  const run = {
    experiment,
    text,
    seed,
    id: `simulated-${seed}`,
    target: 'simulated',
    signal,
    say: () => undefined,
  } as const;
  const folder = join(root, name);
  return { folder, sha256: writeRun(folder, await recordRun(run)) };
};

test('a simulated data set is valid, has the same SHA-256 for the same seed, and another for another seed', async () => {
  const [first, again, other] = [await record(7, 'first'), await record(7, 'again'), await record(8, 'other')];
  assert.equal(again.sha256, first.sha256);
  assert.notEqual(other.sha256, first.sha256);
  for (const { folder } of [first, other]) assert.deepEqual(checkDataset(folder), []);
});

test('every OTLP line of a recorded run decodes with the official protobuf and encodes to the same bytes', async () => {
  const { folder } = await record(9, 'otlp');
  for (const name of ['traces.otlp.jsonl', 'logs.otlp.jsonl'] as const) {
    const lines = readFileSync(join(folder, name), 'utf8').trimEnd().split('\n');
    assert.ok(lines.length > 0);
    for (const line of lines) {
      assertOtlp(name, line);
      assert.ok(line.includes(`"schemaUrl":"${SCHEMA_URL}"`), name);
      assert.match(line, /"service\.instance\.id","value":\{"stringValue":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"/);
    }
  }
});

test('G10: the spans and labels of a simulated run carry every cause, and no false one', async () => {
  const { folder } = await record(11, 'carried');
  const data = readRun(folder);
  const edges = scoredEdges(data.events, data.edges);
  assert.ok(edges.length > 0);
  assert.deepEqual(
    edges.filter(({ carriedBy }) => carriedBy === 'none'),
    [],
  );
  const { event } = score(data, predictionOf('labels', data));
  assert.deepEqual([event.precision, event.recall], [1, 1]);
  assert.equal(traceMeasures(data).orphans, 0);
});

test('G10: the stored causes are complete and correct, the loss has its root event, and no other event data than its causes follow from', async () => {
  const { folder } = await record(10, 'truth');
  const data = readRun(folder);
  const scores = baselineNames.map((name) => score(data, predictionOf(name, data)));
  const oracle = scores.find(({ method }) => method === 'causes');
  assert.deepEqual([oracle?.event.precision, oracle?.event.recall, oracle?.exactTrees], [1, 1, 1]);
  const loss = data.faults.find(({ name }) => name === 'loss');
  assert.equal(data.events.find(({ id }) => id === loss?.rootEvent)?.type, 'KeyVersionDisabled');
  // comparedData is a list of names: a new field is left out until it is listed.
  for (const event of data.events) assert.deepEqual(comparedData(event.data), event.data);
  assert.doesNotMatch(JSON.stringify(data.events.map((event) => event.data)), /wrapped|sealed|secret/i);
});

test('G10: a stop after the removal of an identity is traced back to that removal, the first event of its commit', async () => {
  const connected = new URL('../files/two-keys-at-once.experiment.yaml', import.meta.url);
  const text = readFileSync(connected, 'utf8').replaceAll('disable-key:', 'set-identity-none:');
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const { signal } = new AbortController();
  const run = { seed: 12, id: 'simulated-12', target: 'simulated', signal, say: () => undefined } as const;
  const { events } = await recordRun({ experiment: read.experiment, text, ...run });
  const byId = new Map(events.map((event) => [event.id, event]));
  const rootsOf = (id: string): readonly string[] => {
    const { causes = [], type = '' } = byId.get(id) ?? {};
    return causes.length === 0 ? [type] : causes.flatMap((cause) => rootsOf(cause.id));
  };
  const stops = events.filter(({ type }) => type === 'VmStopping');
  assert.ok(stops.length > 0);
  for (const { id } of stops) assert.deepEqual([...new Set(rootsOf(id))], ['IdentityRemoved'], id);
});
