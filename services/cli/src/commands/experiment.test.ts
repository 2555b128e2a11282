import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { beginEvidence, put, type RunRecord, sealEvidence, writeEvidence } from '@interlock/lab';
import { outputOf } from '../output/output.ts';
import { openTerminal } from '../output/terminal.ts';
import { UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';
import { judgeFolder, listRuns, validateFiles } from './experiment.ts';
import { reportFolder } from './experiment-report.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-experiment-'));
after(() => rmSync(root, { recursive: true }));

const file = `title: one
estate:
  premium: { machines: 1, disks: [premium-ssd], key: k1 }
timeline:
  - { at: 0s, disable-key: premium, as: loss }
  - { at: 5s, give-back: loss }
expect: [bytesLost == 0]
`;

/** The parts that a command needs, and what it prints. */
const open = async (json = false) => {
  const out: string[] = [];
  const err: string[] = [];
  const terminal = {
    ...openTerminal(),
    out: (line: string) => void out.push(line),
    err: (line: string) => void err.push(line),
  };
  return { out, err, parts: { env: {}, terminal, output: await outputOf({ json }, terminal) } };
};

/** The record of a run that failed before its timeline. */
const failedRun = (id: string): RunRecord => ({
  run: { id, target: 'local', seed: 1, problems: ['the set-up failed: no space'], versions: {} },
  steps: [],
  machines: [],
  io: [],
  sightings: [],
  content: { disksCompared: 0, bytesCompared: 0, bytesLost: 0 },
  guarantees: [],
});

test('run, search and recover pass paths and flags to the script of the clone', async () => {
  const { run, lines } = testProgram();
  await run('experiment', 'run', 'a.yaml', '--target', 'simulated', '--set', 'leaseTtl=30s', '--set', 'authzTtl=1s');
  await run('experiment', 'run', 'a.yaml', '--target', 'simulated', '--forever', '--json', '--keep', 'kept');
  await run('experiment', 'recover', 'evidence');
  await run('experiment', 'validate', 'a.yaml', '--target', 'simulated');
  await run('experiment', 'search', 'a.yaml', '--budget', '2m', '--seed', '7', '--output', 'found.yaml');
  assert.deepEqual(lines, [
    `e2e/experiments/main.ts run ${resolve('a.yaml')} --target=simulated --set=leaseTtl=30s --set=authzTtl=1s`,
    `e2e/experiments/main.ts run ${resolve('a.yaml')} --target=simulated --keep=${resolve('kept')} --forever --json`,
    `e2e/experiments/main.ts recover ${resolve('evidence')}`,
    `e2e/experiments/main.ts validate ${resolve('a.yaml')} --target=simulated`,
    `e2e/experiments/main.ts search ${resolve('a.yaml')} --budget=2m --seed=7 --output=${resolve('found.yaml')}`,
  ]);
});

test('validate names every problem with its line, and its exit code is 2 if a file has one', async () => {
  const good = join(root, 'good.yaml');
  const bad = join(root, 'bad.yaml');
  writeFileSync(good, file);
  writeFileSync(bad, file.replace('disable-key', 'disable-kye'));
  const { out, err, parts } = await open();
  assert.equal(validateFiles([good], parts), 0);
  assert.match(out[0] ?? '', /good\.yaml: valid \(one; 2 steps, 1 expectations\)/);
  assert.equal(validateFiles([good, bad], parts), 2);
  assert.match(err.join('\n'), /bad\.yaml.*5/);
  assert.throws(() => validateFiles([join(root, 'absent.yaml')], parts), UsageError);
});

test('judge repeats the verdict of kept evidence; a folder without a whole run is refused', async () => {
  const record: RunRecord = {
    run: { id: 'x', target: 'local', seed: 1, problems: ['the set-up failed: no space'], versions: {} },
    steps: [],
    machines: [],
    io: [],
    sightings: [],
    content: { disksCompared: 0, bytesCompared: 0, bytesLost: 0 },
    guarantees: [],
  };
  const folder = join(root, 'runs', 'one');
  beginEvidence(folder, file, {});
  const { out, parts } = await open();
  assert.throws(() => judgeFolder(folder, parts), /interlock experiment recover/);
  writeEvidence(folder, record);
  assert.equal(judgeFolder(folder, parts), 4);
  assert.match(out.join('\n'), /^INCONCLUSIVE: .*no space/);
  assert.throws(() => judgeFolder(root, parts), /holds no run/);
});

test('report writes the page of a run, or one page of all runs below a folder, from evidence alone', async () => {
  const runs = join(root, 'matrix');
  const other = file.replace('  - { at: 5s', '  - { at: 1s, pause: key-vault, for: 1s }\n  - { at: 5s');
  for (const [name, text] of [
    ['run-1', file],
    ['run-2', file],
    ['paused/run-1', other],
  ] as const) {
    beginEvidence(join(runs, name), text, {});
    writeEvidence(join(runs, name), failedRun(name));
  }
  const { out, parts } = await open();
  await reportFolder(join(runs, 'run-1'), undefined, parts);
  await reportFolder(runs, undefined, parts);
  assert.deepEqual(out, [
    `${join(runs, 'run-1', 'report.html')}: inconclusive`,
    `${join(runs, 'matrix.html')}: 3 runs in 2 cells`,
  ]);
  assert.match(readFileSync(join(runs, 'run-1', 'report.html'), 'utf8'), /the set-up failed: no space/);
  const page = readFileSync(join(runs, 'matrix.html'), 'utf8');
  assert.match(page, /<h2>Nothing disturbed<\/h2>[\s\S]*<h2>pause key-vault<\/h2>/);
  assert.match(page, /href="paused\/run-1\/report\.html"/);
  await assert.rejects(reportFolder(join(root, 'absent'), undefined, parts), /holds no run/);
});

test('list shows kept runs with their recorded outcome, which were changed, and which did not end', async () => {
  const runs = join(root, 'listed');
  mkdirSync(runs);
  const { out, parts } = await open();
  listRuns(runs, parts);
  assert.match(out[0] ?? '', /no run is kept/);
  beginEvidence(join(runs, 'killed'), file, {});
  beginEvidence(join(runs, 'whole'), file, {});
  for (const name of ['whole', 'edited']) {
    if (name === 'edited') beginEvidence(join(runs, name), file, {});
    finishRun(join(runs, name));
  }
  put(join(runs, 'edited'), 'io.jsonl', '{}\n');
  const json = await open(true);
  listRuns(runs, json.parts);
  const { runs: listed } = JSON.parse(json.out.join('\n'));
  const text = await open();
  listRuns(runs, text.parts);
  assert.equal(text.out.at(-1), `changed: ${join(runs, 'edited')}: io.jsonl was changed after the run`);
  assert.deepEqual(
    listed.map((one: { folder: string; outcome: string; title: string }) => [one.folder, one.outcome, one.title]),
    [
      [join(runs, 'edited'), 'changed, was inconclusive', 'one'],
      [join(runs, 'killed'), 'not ended', 'one'],
      [join(runs, 'whole'), 'inconclusive', 'one'],
    ],
  );
});

/** Writes everything that a run leaves. */
function finishRun(folder: string): void {
  writeEvidence(folder, failedRun('x'));
  put(folder, 'verdict.json', '{"outcome":"inconclusive"}');
  sealEvidence(folder, { target: 'local', run: 'x', interlock: { version: '1', commit: '' } });
}

/** What is done to the folder of a run, and the outcome and the change that `list` shows. */
const edits: readonly (readonly [string, (folder: string) => void, string, RegExp])[] = [
  [
    'another outcome',
    (folder) => put(folder, 'verdict.json', '{"outcome":"held"}'),
    'not proved, says held',
    /^verdict\.json was changed after the run$/,
  ],
  [
    'a verdict that the manifest does not name',
    (folder) => {
      rmSync(join(folder, 'verdict.json'));
      sealEvidence(folder, { target: 'local', run: 'x', interlock: { version: '1', commit: '' } });
      put(folder, 'verdict.json', '{"outcome":"held"}');
    },
    'not proved, says held',
    /manifest\.json .* does not name verdict\.json/,
  ],
  ['half a verdict', (folder) => put(folder, 'verdict.json', '{"outcome":'), 'damaged', /verdict\.json is damaged/],
  ['an empty verdict', (folder) => put(folder, 'verdict.json', ''), 'damaged', /verdict\.json is damaged/],
  ['null as verdict', (folder) => put(folder, 'verdict.json', 'null'), 'damaged', /its outcome must be one of held, /],
  [
    'an unknown outcome',
    (folder) => put(folder, 'verdict.json', '{"outcome":"\\u001b[2J"}'),
    'damaged',
    /its outcome must be one of held, .* \(got "\\u001b\[2J"\)/,
  ],
  ['no verdict', (folder) => rmSync(join(folder, 'verdict.json')), 'damaged', /verdict\.json cannot be read/],
  [
    'a folder as verdict',
    (folder) => {
      rmSync(join(folder, 'verdict.json'));
      mkdirSync(join(folder, 'verdict.json'));
    },
    'damaged',
    /verdict\.json is a folder/,
  ],
  ['half a run.json', (folder) => put(folder, 'run.json', '{'), 'changed, was inconclusive', /run\.json is damaged/],
  [
    'a start that is no date',
    (folder) => put(folder, 'run.json', '{"startedMs":1e300}'),
    'changed, was inconclusive',
    /run\.json was changed/,
  ],
  [
    'no experiment',
    (folder) => rmSync(join(folder, 'experiment.yaml')),
    'changed, was inconclusive',
    /experiment\.yaml is missing/,
  ],
  [
    'no manifest',
    (folder) => rmSync(join(folder, 'manifest.json')),
    'changed, was inconclusive',
    /manifest\.json is mis/,
  ],
];

for (const [title, change, outcome, reason] of edits)
  test(`list names ${title} of a run, and still lists the others`, async () => {
    const runs = join(root, `edited ${title}`);
    for (const name of ['edited', 'whole']) {
      beginEvidence(join(runs, name), file, {});
      finishRun(join(runs, name));
    }
    change(join(runs, 'edited'));
    const { out, parts } = await open(true);
    listRuns(runs, parts);
    const { runs: listed } = JSON.parse(out.join('\n'));
    assert.deepEqual(
      listed.map((one: { outcome: string }) => one.outcome),
      [outcome, 'inconclusive'],
    );
    assert.match(listed[0].changes.join('\n'), new RegExp(reason, 'm'));
    assert.deepEqual(listed[1].changes, []);
  });

test("experiment export writes another tool's files and lists what it leaves out; without --to it lists the tools", async () => {
  const file = readFileSync(
    new URL('../../../../e2e/experiments/files/no-events.experiment.yaml', import.meta.url),
    'utf8',
  );
  const { run, written, asides } = testProgram({}, { files: { 'a/no-events.experiment.yaml': file } });
  await run('experiment', 'export', 'a/no-events.experiment.yaml', '--to', 'chaos-mesh');
  assert.deepEqual([...written.keys()], ['a/no-events.chaos-mesh.yaml', 'a/estate.yaml']);
  assert.ok(asides.includes('not exported: expect: bytesLost == 0'));
  assert.ok(
    asides.some((line) => /^weaker: expect: premium\.stopped/.test(line)),
    asides.join('\n'),
  );
  const strict = testProgram({}, { files: { 'a/no-events.experiment.yaml': file } });
  await strict.run('experiment', 'export', 'a/no-events.experiment.yaml', '--to', 'chaos-mesh', '--strict');
  assert.deepEqual([...strict.written.keys()], []);
  assert.match(strict.asides.at(-1) ?? '', /^--strict: chaos-mesh cannot say \d+ parts of .*; nothing was written$/);
  await assert.rejects(
    run('experiment', 'export', 'a/no-events.experiment.yaml'),
    /--to: chaos-toolkit, chaos-mesh, litmus/,
  );
  await assert.rejects(run('experiment', 'export', 'a/no-events.experiment.yaml', '--to', 'gremlin'), UsageError);
});
