import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { degrade } from '../change/degrade.ts';
import { writeRun } from '../format/folder.ts';
import { spansIn, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { testRun } from '../test-run.ts';
import { edgesOf } from '../truth/edges.ts';
import { checkDataset, datasetNotes } from './check.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-recompute-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
/** Writes a run with hashes that are right. @returns its folder */
const written = (data: RunData): string => {
  folders += 1;
  const folder = join(root, String(folders));
  writeRun(folder, data);
  return folder;
};

/** The test run with a second key in the same set, whose loss stops nothing, and the step of the timeline that took it away. */
const twoLosses = (): RunData => {
  const run = testRun();
  const [loss] = run.faults;
  const [disabled, lost] = run.events;
  assert.ok(loss && disabled && lost);
  const other = 'vaults/kv2/keys/k2/versions/1';
  const trace = '9'.padStart(32, '0');
  const events = [
    ...run.events,
    { ...disabled, id: 'disabled-2', position: 2, stream: 'key-vaults/kv2/keys/k2', traceId: trace },
    {
      ...lost,
      id: 'lost-2',
      position: 2,
      traceId: trace,
      causes: [{ id: 'disabled-2', kind: 'message' as const }],
      data: { keyVersion: other, epoch: 1 },
    },
  ];
  const second = {
    ...loss,
    name: 'loss-2',
    traceId: trace,
    keyVersions: [other],
    rootEvent: 'disabled-2',
    firstEffect: 'lost-2',
  };
  return { ...run, events, edges: edgesOf(events, run.traces), faults: [loss, second] };
};

test('check accepts a run, also after spans were dropped, delayed or sampled on purpose', () => {
  const run = twoLosses();
  assert.deepEqual(checkDataset(written(run)), []);
  const damage = { drop: 0.5, late: 0.5, lateNano: 5_000_000n, skew: new Map([['disk', 1n]]), seed: 3 };
  const damaged = degrade(run, damage);
  assert.notEqual(damaged.corruption.length, 0);
  assert.deepEqual(checkDataset(written(damaged)), []);
});

const stop = 'stopping';
/** Each change leaves every hash right and every reference valid. */
const edits: readonly (readonly [string, (run: RunData) => RunData, RegExp])[] = [
  [
    'a dropped edge',
    (run) => ({ ...run, edges: run.edges.filter(({ to }) => to !== stop) }),
    /the edge lost → stopping \(message\) is missing/,
  ],
  [
    'an edge dropped from the events too',
    (run) => {
      const events = run.events.map((event) => (event.id === stop ? { ...event, causes: [] } : event));
      return { ...run, events, edges: edgesOf(events, run.traces) };
    },
    /compute VmStopping stopping of principals\/user has no message or call/,
  ],
  [
    'a stop relabelled to the other key, in events and edges',
    (run) => {
      const causes = [{ id: 'lost-2', kind: 'message' as const }];
      const events = run.events.map((event) => (event.id === stop ? { ...event, causes } : event));
      return { ...run, events, edges: edgesOf(events, run.traces) };
    },
    /VmStopping stopping .* lost-2, which its data do not imply/,
  ],
  [
    'every carriedBy set to parent',
    (run) => ({ ...run, edges: run.edges.map((edge) => ({ ...edge, carriedBy: 'parent' as const })) }),
    /the edge disabled → lost \(message\) has carriedBy parent, and its spans say link/,
  ],
  [
    'swapped roots',
    (run) => {
      const [first, second] = run.faults;
      assert.ok(first && second);
      const swapped = (one: typeof first, { rootEvent, firstEffect }: typeof first) => ({
        ...one,
        ...(rootEvent === undefined ? {} : { rootEvent }),
        ...(firstEffect === undefined ? {} : { firstEffect }),
      });
      return { ...run, faults: [swapped(first, second), swapped(second, first)] };
    },
    /loss has the root event disabled-2, and its loss says disabled/,
  ],
  [
    'swapped roots with their traces',
    (run) => {
      const [first, second] = run.faults;
      assert.ok(first && second);
      const { name, keyVersions = [] } = first;
      const other = { name: second.name, keyVersions: second.keyVersions ?? [] };
      return {
        ...run,
        faults: [
          { ...second, name, keyVersions },
          { ...first, ...other },
        ],
      };
    },
    /loss took vaults\/kv2\/keys\/k2\/versions\/1 away, which is not its own/,
  ],
  [
    'all links removed',
    (run) => ({ ...run, traces: withSpans(run.traces, ({ links: _, ...span }) => span) }),
    /the edge disabled → lost \(message\) has carriedBy link, and its spans say none/,
  ],
  [
    'a dropped batch of spans',
    (run) => ({ ...run, traces: run.traces.slice(0, -1) }),
    /compute has 0 spans, and 2 were received/,
  ],
  [
    'a dropped span that no edge needs',
    (run) => ({
      ...run,
      traces: withSpans(run.traces, (span) => (span.name === 'StartVirtualMachine' ? undefined : span)),
    }),
    /compute has 1 spans, and 2 were received/,
  ],
];

for (const [what, edit, expected] of edits)
  test(`check finds ${what}, although all hashes are right`, () => {
    assert.match(checkDataset(written(edit(twoLosses()))).join('\n'), expected);
  });

test('notes name spans that exporters lost, by service, and the spans without a parent', () => {
  const run = testRun();
  const spans = spansIn(run.traces);
  assert.deepEqual(datasetNotes(written(run)), []);
  const traces = withSpans(run.traces, (span) => (span.name === 'DisableKeyVersion' ? undefined : span));
  const counted = run.exports.map((one) =>
    one.service === 'key-vault' ? { ...one, received: 1, exported: 1, failed: 1, dropped: 2 } : one,
  );
  assert.deepEqual(datasetNotes(written({ ...run, traces, exports: counted })), [
    'key-vault lost spans: 2 dropped from its queue, 1 in failed exports, 0 on the way',
    `1 of ${spans.length - 1} spans have no parent; 3 lost spans are counted`,
  ]);
});
