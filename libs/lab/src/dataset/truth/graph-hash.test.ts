import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitsOf } from '../format/manifest.ts';
import { testRun } from '../test-run.ts';
import { graphHash } from './graph-hash.ts';

const { events } = testRun();

test('runs whose events differ only in ids, times and order have the same graph', () => {
  const renamed = events.map((event, index) => ({
    ...event,
    id: `other ${event.id}`,
    stream: `other ${event.stream}`,
    timeUnixNano: String(index),
    causes: event.causes.map((cause) => ({ ...cause, id: `other ${cause.id}` })),
  }));
  assert.equal(graphHash(renamed.toReversed()), graphHash(events));
});

test('another cause, another kind of cause, another type and one more event give another graph', () => {
  const [disabled, lost, ...others] = events;
  assert.ok(disabled && lost);
  const changes = [
    [disabled, { ...lost, causes: [] }, ...others],
    [disabled, { ...lost, causes: [{ id: 'disabled', kind: 'call' as const }] }, ...others],
    [disabled, { ...lost, type: 'KeyAccessBarred' }, ...others],
    [...events, { ...lost, id: 'lost-2' }],
  ];
  const hashes = [events, ...changes].map(graphHash);
  assert.equal(new Set(hashes).size, hashes.length);
  // What happened before the timeline is no part of it.
  assert.equal(graphHash([...events, { ...lost, id: 'setup', causes: [], phase: 'setup' }]), graphHash(events));
});

test('runs with the same graph are in the same split', () => {
  const runs = Array.from({ length: 60 }, (_, index) => ({ path: `run-${index}`, graph: `graph-${index % 20}` }));
  const splits = splitsOf(runs);
  assert.equal(Object.values(splits).flat().length, runs.length);
  const graphs = Object.values(splits).map(
    (paths) => new Set(paths.map((path) => runs.find((run) => run.path === path)?.graph)),
  );
  assert.deepEqual(
    graphs.map(({ size }) => size),
    [14, 2, 4],
  );
  assert.equal(new Set(graphs.flatMap((some) => [...some])).size, 20);
});
