import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { RunData } from './format/run-data.ts';
import {
  baselineNames,
  checkDataset,
  criticalPaths,
  degrade,
  policyOf,
  predictionOf,
  readRun,
  sample,
  score,
  scoreTable,
  spansIn,
  writeCollection,
  writeRun,
} from './index.ts';
import { testRun } from './test-run.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-dataset-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const written = (data: RunData = testRun()): string => {
  folders += 1;
  const folder = join(root, String(folders));
  writeRun(folder, data);
  return folder;
};

test('edges have carriedBy, and faults their root event and first effect', () => {
  const { edges, faults } = testRun();
  assert.deepEqual(
    edges.map(({ from, to, crossService, carriedBy }) => [from, to, crossService, carriedBy]),
    [
      ['disabled', 'lost', true, 'link'],
      ['lost', 'stopping', true, 'parent'],
      ['stopping', 'stopped', false, 'parent'],
    ],
  );
  assert.deepEqual([faults[0]?.rootEvent, faults[0]?.firstEffect], ['disabled', 'lost']);
});

test('a written run is read back unchanged, and gives the same bytes when it is written again', () => {
  const folder = written();
  assert.deepEqual(readRun(folder), testRun());
  const again = written(readRun(folder));
  assert.equal(readFileSync(join(again, 'manifest.json'), 'utf8'), readFileSync(join(folder, 'manifest.json'), 'utf8'));
  assert.deepEqual(checkDataset(folder), []);
  assert.throws(() => writeRun(folder, testRun()), /is not empty/);
});

test('check reports a missing file and a changed one', () => {
  const folder = written();
  rmSync(join(folder, 'truth/io.jsonl'));
  appendFileSync(join(folder, 'traces.otlp.jsonl'), '{}\n');
  const [changed, missing] = checkDataset(folder);
  assert.match(changed ?? '', /traces\.otlp\.jsonl has the SHA-256 \w+, not \w+/);
  assert.equal(missing, 'truth/io.jsonl is missing');
  assert.match(checkDataset(join(root, 'nowhere'))[0] ?? '', /is no data set: it has no manifest.json/);
});

test('check reports unknown causes, edges to unknown events, cycles, and spans of another run', () => {
  const run = testRun();
  const [first, ...others] = run.events;
  assert.ok(first);
  const withCause = (id: string) => [{ ...first, causes: [{ id, kind: 'step' as const }] }, ...others];
  const problemsOf = (change: Partial<RunData>) => checkDataset(written({ ...run, ...change })).join('\n');
  assert.match(
    problemsOf({ events: withCause('absent') }),
    /event disabled names the cause absent, which does not exist/,
  );
  assert.match(problemsOf({ events: withCause('stopped') }), /4 events cause each other in a cycle/);
  assert.match(problemsOf({ events: others }), /an edge names the event disabled, which does not exist/);
  const facts = { ...run.facts, run: 'run-2' };
  assert.match(problemsOf({ facts }), /traces\.otlp\.jsonl: resource 1 belongs to the run run-1, not to run-2/);
});

test('check of a collection names the run with a problem', () => {
  const folder = join(root, 'collection');
  const runs = ['a', 'b'].map((path, seed) => ({ path, seed, sha256: writeRun(join(folder, path), testRun()) }));
  writeCollection(folder, 'Two', runs);
  assert.deepEqual(checkDataset(folder), []);
  writeFileSync(join(folder, 'b', 'experiment.yaml'), 'other');
  assert.match(checkDataset(folder).join('\n'), /^b: experiment\.yaml has the SHA-256/);
});

test('the baselines differ: one edge needs links, and timestamps confuse two machines', () => {
  const run = testRun();
  const scores = baselineNames.map((name) => score(run, predictionOf(name, run)));
  const figures = scores.map(({ method, event, exactTrees, reachability, ac1 }) => [
    method,
    event.precision,
    event.recall,
    exactTrees,
    reachability,
    ac1,
  ]);
  assert.deepEqual(figures, [
    ['parents', 1, 2 / 3, 0, 0, 0],
    // The set's span links to the publication, which stored nothing.
    ['links', 1, 1 / 3, 0, 0, 0],
    ['message links', 1, 1, 1, 1, 1],
    ['parents and links', 1, 1, 1, 1, 1],
    // By time, the machine that starts seems to follow the one that stops.
    ['timestamps', 3 / 4, 1, 0, 1, 1],
    ['delays', 3 / 4, 1, 0, 1, 1],
    ['labels', 1, 1, 1, 1, 1],
    ['causes', 1, 1, 1, 1, 1],
  ]);
  assert.equal(scoreTable(scores).length, 1 + baselineNames.length);
});

test('score uses the rankings of a prediction', () => {
  const run = testRun();
  const rankings = [{ event: 'stopped', candidates: ['started', 'lost', 'disabled'] }];
  const { ac1, ac3, avg5, mrr } = score(run, { method: 'mine', edges: [], rankings });
  assert.deepEqual([ac1, ac3, avg5, mrr], [0, 1, 0.6, 1 / 3]);
});

test('degrade records each change with its shift, and the same seed gives the same result', () => {
  const wanted = { drop: 0.3, late: 0.5, lateNano: 5_000_000n, skew: new Map([['compute', 200_000_000n]]), seed: 4 };
  const run = testRun();
  const damaged = degrade(run, wanted);
  assert.deepEqual(degrade(run, wanted), damaged);
  const before = spansIn(run.traces);
  const kept = new Map(spansIn(damaged.traces).map((span) => [span.spanId, span]));
  const drops = damaged.corruption.filter(({ kind }) => kind === 'drop');
  assert.ok(drops.length > 0);
  assert.equal(kept.size + drops.length, before.length);
  for (const span of before.filter(({ spanId }) => kept.has(spanId))) {
    const shift = damaged.corruption.reduce(
      (sum, one) => (one.kind !== 'drop' && one.spanId === span.spanId ? sum + BigInt(one.shiftNano) : sum),
      0n,
    );
    assert.equal(kept.get(span.spanId)?.startTimeUnixNano, String(BigInt(span.startTimeUnixNano) + shift));
  }
  assert.deepEqual(damaged.events, run.events);
  assert.match(
    damaged.facts.changes[0] ?? '',
    /30 % of spans dropped, 50 % of spans 5 ms late, clock of compute 200 ms ahead/,
  );
});

test('tail sampling keeps a trace with an error; chain sampling keeps or drops linked traces together', () => {
  const run = testRun();
  const idsAfter = (policy: string) => {
    const wanted = policyOf(policy);
    assert.ok(wanted);
    return [...new Set(spansIn(sample(run, wanted).traces).map(({ traceId }) => Number(traceId)))];
  };
  assert.ok(idsAfter('tail').includes(2));
  for (const ratio of ['.1', '.3', '.5', '.7', '.9']) {
    const ids = idsAfter(`chain:0${ratio}`);
    assert.equal(ids.includes(1), ids.includes(2), `chain:0${ratio} kept ${ids}`);
  }
  assert.deepEqual([idsAfter('ratio:0'), idsAfter('ratio:1')], [[], [1, 2, 3]]);
  assert.equal(policyOf('half'), undefined);
});

test('criticalPaths returns the path by causes and the path by spans', () => {
  const [path] = criticalPaths(testRun(), 'VmStopped');
  assert.deepEqual(
    path?.causes.map(({ service }) => service),
    ['key-vault', 'disk-encryption-set', 'compute', 'compute'],
  );
  assert.deepEqual(
    path?.spans.map(({ what }) => what),
    ['DisableKeyVersion', 'publish', 'process', 'stop'],
  );
});
