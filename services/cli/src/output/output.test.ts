import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';
import { aligned } from './align.ts';
import { wantsDocument } from './output.ts';

const vaults = [
  { name: 'vaults/kv1', location: 'westeurope' },
  { name: 'vaults/kv2', location: 'northeurope' },
];
const shown = async (...args: readonly string[]): Promise<string> => {
  const { run, lines } = testProgram({ ListVaults: { vaults, nextPageToken: '' } });
  await run('vault', 'list', ...args);
  return lines.join('\n');
};

test('-o json and --json show the answer as one document, -o yaml the same in YAML', async () => {
  const json = await shown('-o', 'json');
  assert.deepEqual(JSON.parse(json), { vaults, nextPageToken: '' });
  assert.equal(await shown('--json'), json);
  assert.equal(await shown('--format=json'), json);
  assert.match(await shown('-o', 'yaml'), /^vaults:\n {2}- name: vaults\/kv1\n {4}location: westeurope\n/);
});

test('--wide is -o wide', async () => {
  assert.equal(await shown('--wide'), await shown('-o', 'wide'));
});

test('--query shows the result of a JMESPath expression as JSON, YAML or a table', async () => {
  assert.deepEqual(JSON.parse(await shown('--query', 'vaults[].name')), ['vaults/kv1', 'vaults/kv2']);
  assert.equal(await shown('--query', 'vaults[].name', '-o', 'yaml'), '- vaults/kv1\n- vaults/kv2');
  assert.equal(await shown('--query', 'vaults[0].name', '-o', 'table'), 'vaults/kv1', 'a text as it is, for scripts');
  assert.equal(
    await shown('--query', 'vaults[].{name: name, place: location}', '-o', 'table'),
    'NAME        PLACE\nvaults/kv1  westeurope\nvaults/kv2  northeurope',
  );
});

test('an unknown format, two formats, and an invalid query are refused before anything is sent', async () => {
  const refused = async (...args: readonly string[]): Promise<string> => {
    const { run, sent } = testProgram();
    const error = await run('vault', 'list', ...args).then(
      () => assert.fail('not refused'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof UsageError, String(error));
    assert.deepEqual(sent, []);
    return error.message;
  };
  assert.match(
    await refused('-o', 'jsn'),
    /^-o must be one of json, yaml, table, wide, not "jsn"\. Did you mean json\?/,
  );
  assert.match(await refused('--json', '-o', 'table'), /^--json is -o json: give one/);
  assert.match(await refused('--wide', '-o', 'json'), /^--wide is -o wide: give one of --wide and -o json/);
  assert.match(await refused('--wide', '--json'), /give one of --wide and --json/);
  assert.match(await refused('--query', 'vaults[?'), /^--query "vaults\[\?" is not JMESPath: /);
});

test('errors are documents if the output format is JSON or YAML', () => {
  for (const args of [['--json'], ['-o', 'json'], ['-ojson'], ['--format', 'yaml'], ['--format=yaml']])
    assert.equal(wantsDocument(['vm', 'list', ...args]), true, args.join(' '));
  for (const args of [[], ['-o', 'table'], ['-o', 'wide'], ['json']])
    assert.equal(wantsDocument(['vm', 'list', ...args]), false, args.join(' '));
});

test('a name with a line feed stays in its row of a table', () => {
  assert.equal(
    aligned([
      ['NAME', 'STATE'],
      ['a\nb\u001b[2J', 'on'],
    ]),
    'NAME           STATE\na\\nb\\u001b[2J  on',
  );
});
