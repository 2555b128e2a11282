import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { withSpans, writeCollection, writeRun } from '@interlock/lab/dataset';
import { testRun } from '../../../../libs/lab/src/dataset/test-run.ts';
import type { Terminal } from '../output/terminal.ts';
import { testProgram } from '../session/test-session.ts';
import { run } from './run.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-dataset-cli-'));
after(() => rmSync(root, { recursive: true, force: true }));

const data = join(root, 'data');
writeRun(data, testRun());

/** Runs a command line. */
const dataset = async (...args: readonly string[]) => {
  const lines: string[] = [];
  const note = (text: string) => void lines.push(text);
  const terminal = { out: note, err: note, readFile: (path: string) => readFileSync(path) } as unknown as Terminal;
  const code = await run(['dataset', ...args], {}, terminal);
  return { code, text: lines.join('\n') };
};

test('dataset check exits with 1 and names what is wrong', async () => {
  assert.deepEqual(await dataset('check', data), { code: 0, text: `${data}: sound` });
  const copy = join(root, 'changed');
  writeRun(copy, testRun());
  appendFileSync(join(copy, 'truth/io.jsonl'), '{}\n');
  const { code, text } = await dataset('check', copy);
  assert.equal(code, 1);
  assert.match(text, /truth\/io\.jsonl has the SHA-256/);
});

test('dataset score shows the baselines without labels and a prediction in one table, and what each read', async () => {
  const file = join(root, 'prediction.json');
  writeFileSync(
    file,
    JSON.stringify({ method: 'mine', reads: ['span.name'], edges: [{ from: 'disabled', to: 'lost' }] }),
  );
  const { code, text } = await dataset('score', data, file);
  assert.equal(code, 0);
  for (const method of ['parents', 'links', 'parents and links', 'timestamps', 'mine'])
    assert.match(text, new RegExp(`^${method} .*\\d\\.\\d{3}`, 'm'));
  assert.match(text, /^mine: reads span\.name$/m);
  assert.doesNotMatch(text, /^(labels|causes) /m);
  const labelled = (await dataset('score', data, '--labelled')).text;
  for (const method of ['parents', 'labels', 'causes']) assert.match(labelled, new RegExp(`^${method} `, 'm'));
  writeFileSync(file, JSON.stringify({ method: 'mine', reads: 'span.name', edges: [] }));
  assert.deepEqual((await dataset('score', data, file)).code, 2);
  writeFileSync(file, '{ "edges": [] }');
  assert.deepEqual((await dataset('score', data, file)).code, 2);
});

test('dataset degrade, sample, path and export accept a data set; degraded and sampled sets pass the check', async () => {
  const out = (name: string) => join(root, name);
  const damage = ['--drop', '20%', '--late', '10%', '--late-by', '5ms', '--skew', 'disk=+200ms'];
  assert.equal((await dataset('degrade', data, ...damage, '--out', out('degraded'))).code, 0);
  assert.equal((await dataset('sample', data, '--policy', 'tail', '--out', out('sampled'))).code, 0);
  for (const name of ['degraded', 'sampled']) assert.equal((await dataset('check', out(name))).code, 0, name);
  assert.match(
    (await dataset('path', data, '--event', 'VmStopped')).text,
    /KeyVersionDisabled[\s\S]*DisableKeyVersion/,
  );
  assert.equal((await dataset('export', data, '--format', 'parquet', '--out', out('parquet'))).code, 0);
  assert.ok(existsSync(join(out('parquet'), 'spans.parquet')));
});

test('dataset export --blind leaves out the attributes that hold answers', async () => {
  const folder = join(root, 'labelled');
  const run = testRun();
  const label = { key: 'interlock.event.ids', value: { arrayValue: { values: [{ stringValue: 'stopped' }] } } };
  const traces = withSpans(run.traces, (span) => ({ ...span, attributes: [label] }));
  writeRun(folder, { ...run, traces });
  const exportedBy = async (...flags: readonly string[]): Promise<string> => {
    const out = join(root, `labelled-out${flags.join()}`);
    assert.equal((await dataset('export', folder, '--format', 'jaeger', '--out', out, ...flags)).code, 0);
    return readFileSync(join(out, 'jaeger.json'), 'utf8');
  };
  assert.match(await exportedBy(), /interlock\.event\.ids/);
  assert.doesNotMatch(await exportedBy('--blind'), /interlock\.event\.ids/);
});

test('invalid flags are refused with what is allowed', async () => {
  const out = join(root, 'never');
  for (const [args, message] of [
    [['degrade', data, '--drop', '5', '--out', out], /--drop must be 0% to 100%, not "5"/],
    [['degrade', data, '--skew', 'disk', '--out', out], /--skew must be <service>=<duration>/],
    [['sample', data, '--policy', 'half', '--out', out], /--policy must be ratio/],
    [['export', data, '--format', 'csv', '--out', out], /--format must be one of openrca, rcaeval, jaeger, parquet/],
    [['path', data, '--event', 'Nothing'], /no event of the timeline has the type Nothing/],
    [['check', data, '--out', out], /unknown option/],
    [['score', root], /is no data set/],
  ] as const) {
    const { code, text } = await dataset(...args);
    assert.equal(code, 2, text);
    assert.match(text, message);
  }
  assert.ok(!existsSync(out));
});

/** A data set whose manifest names a run by this path, which exists there. */
const collection = (name: string, path: string): string => {
  const folder = join(root, name, 'data');
  mkdirSync(folder, { recursive: true });
  const sha256 = writeRun(join(folder, path), testRun());
  writeCollection(folder, 'made elsewhere', [{ path, seed: 1, sha256 }]);
  return folder;
};

test('no command on a data set reads or writes outside of its folders, whatever its manifest names', async () => {
  const folder = collection('evil', '../evil');
  const commands = [
    ['export', folder, '--format', 'jaeger'],
    ['degrade', folder],
    ['sample', folder, '--policy', 'tail'],
  ];
  for (const [index, command] of commands.entries()) {
    const out = join(root, 'evil', `out-${index}`, 'inner');
    const { code, text } = await dataset(...command, '--out', out);
    assert.equal(code, 2);
    assert.match(text, /manifest\.json names a path outside of its folder: "\.\.\/evil" is no path of a file in/);
    assert.equal(existsSync(join(root, 'evil', `out-${index}`, 'evil')), false);
  }
  assert.match((await dataset('check', folder)).text, /names a path outside of its folder/);
  assert.equal((await dataset('score', folder)).code, 2);
});

test('a manifest that names /dev/zero, and a file that is a link to another place, are refused', async () => {
  const named = join(root, 'named');
  cpSync(data, named, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(named, 'manifest.json'), 'utf8'));
  manifest.files[0].path = '../../../../../../../../dev/zero';
  writeFileSync(join(named, 'manifest.json'), JSON.stringify(manifest));
  assert.match((await dataset('check', named)).text, /names a path outside of its folder/);
  for (const target of ['/dev/zero', '/etc/passwd']) {
    const linked = join(root, `linked${target.replaceAll('/', '-')}`);
    cpSync(data, linked, { recursive: true });
    rmSync(join(linked, 'truth/io.jsonl'));
    symlinkSync(target, join(linked, 'truth/io.jsonl'));
    const { code, text } = await dataset('check', linked);
    assert.equal(code, 1);
    assert.match(text, /truth\/io\.jsonl is a link that leads out of the data set/);
  }
});

test('services and actions of a data set become one part of an exported path', async () => {
  const folder = join(root, 'names');
  const run = testRun();
  const [fault] = run.faults;
  assert.ok(fault !== undefined);
  writeRun(folder, { ...run, faults: [{ ...fault, action: '../../../evil' }] });
  const out = join(root, 'names-out');
  assert.equal((await dataset('export', folder, '--format', 'rcaeval', '--out', out)).code, 0);
  assert.ok(existsSync(join(out, 'key-vault_..-..-..-evil/1/traces.csv')));
});

test('archive passes its folder and flags to the script of the clone', async () => {
  const program = testProgram();
  await program.run('dataset', 'archive', '--out', 'traces', '--runs', '3', '--real', '0');
  assert.deepEqual(program.lines, [
    `e2e/experiments/dataset/main.ts archive --out=${resolve('traces')} --runs=3 --real=0`,
  ]);
});
