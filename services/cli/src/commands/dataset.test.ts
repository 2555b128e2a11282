import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeRun } from '@interlock/dataset';
import { testRun } from '../../../../libs/dataset/src/test-run.ts';
import type { Terminal } from '../output/terminal.ts';
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

test('dataset score shows the four baselines and a prediction in one table', async () => {
  const file = join(root, 'prediction.json');
  writeFileSync(file, JSON.stringify({ method: 'mine', edges: [{ from: 'disabled', to: 'lost' }] }));
  const { code, text } = await dataset('score', data, file);
  assert.equal(code, 0);
  for (const method of ['parents', 'parents and links', 'timestamps', 'causes', 'mine'])
    assert.match(text, new RegExp(`^${method} .*\\d\\.\\d{3}`, 'm'));
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
