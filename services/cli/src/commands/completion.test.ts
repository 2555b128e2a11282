import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { type Answers, testProgram } from '../session/test-session.ts';
import { shells } from './completion.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-completion-'));
after(() => rmSync(folder, { recursive: true }));

const scriptFor = async (shell: string): Promise<string> => {
  const { run, lines } = testProgram();
  await run('completion', shell);
  return lines.join('\n');
};

/** What is offered for these words; the last is incomplete. @param answers of the services, by method */
const offered = async (words: readonly string[], answers: Answers = {}): Promise<readonly string[]> => {
  const { run, lines } = testProgram(answers);
  await run('complete', '--', ...words);
  return lines.flatMap((line) => line.split('\n'));
};

test('completes nouns, verbs, flags and choices, also behind global flags', async () => {
  assert.ok((await offered([''])).includes('vault'));
  assert.ok(!(await offered([''])).includes('complete'), 'the command of the scripts is hidden');
  assert.deepEqual(await offered(['va']), ['vault']);
  assert.deepEqual(await offered(['vm', 'st']), ['start', 'stop']);
  assert.deepEqual(await offered(['--group', 'g', 'vm', 'deal']), ['deallocate']);
  assert.deepEqual(await offered(['disk', 'create', 'd1', '--sk']), ['--sku']);
  assert.ok((await offered(['disk', 'create', 'd1', '--sku', ''])).includes('ultra'));
  assert.deepEqual(await offered(['vm', 'list', '-o', 'y']), ['yaml']);
  assert.deepEqual(await offered(['vm', 'start', 'vm1', '--wa']), ['--wait']);
  assert.deepEqual(await offered(['completion', 'f']), ['fish']);
  assert.deepEqual(await offered(['context', 'add', 'c', '--ca-file', '']), [':file'], 'a value that may be anything');
});

const group = 'subscriptions/local/resourceGroups/g';

test('completes names: of the default group, of a flag, and of a key part by part', async () => {
  const vms = { ListVirtualMachines: { virtualMachines: [{ name: `${group}/virtualMachines/vm1` }] } };
  assert.deepEqual(await offered(['vm', 'start', ''], vms), ['vm1']);
  assert.deepEqual(await offered(['vm', 'start', 'vm1', 'v'], vms), ['vm1'], 'several names');
  assert.deepEqual(await offered(['vm', 'start', 'x'], vms), []);
  assert.deepEqual(await offered(['vm', 'create', ''], vms), [], 'a new machine has another name');
  const sets = { ListDiskEncryptionSets: { diskEncryptionSets: [{ name: `${group}/diskEncryptionSets/s1` }] } };
  assert.deepEqual(await offered(['disk', 'create', 'd', '--disk-encryption-set', ''], sets), ['s1']);
  assert.deepEqual(
    await offered(['disk-host', 'drain', ''], { ListDiskHosts: { diskHosts: [{ name: 'diskHosts/disk-0' }] } }),
    ['disk-0'],
  );
  const keys = {
    ListVaults: { vaults: [{ name: 'vaults/kv1' }] },
    ListKeys: { keys: [{ name: 'vaults/kv1/keys/k1' }] },
    ListKeyVersions: { keyVersions: [{ name: 'vaults/kv1/keys/k1/versions/a' }] },
  };
  assert.deepEqual(await offered(['key', 'disable', ''], keys), ['kv1/']);
  assert.deepEqual(await offered(['key', 'disable', 'kv1/'], keys), ['kv1/k1']);
  assert.deepEqual(await offered(['key', 'disable', 'kv1/k1/'], keys), ['kv1/k1/a']);
});

test('a service that refuses leaves the names out, without an error', async () => {
  const refusal = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  assert.deepEqual(await offered(['vm', 'start', ''], { ListVirtualMachines: refusal }), []);
});

/** What bash offers for these words. The program is one that prints what it was called with, or these lines. */
const inBash = (file: string, words: readonly string[], lines?: string): readonly string[] => {
  const program = lines === undefined ? `printf '%s\\n' "$*"` : `printf '${lines}'`;
  const script = `source "$1"; shift; interlock() { ${program}; }; compopt() { echo "compopt $1 $2"; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _interlock interlock; printf '%s\n' "\${COMPREPLY[@]}"`;
  const said = execFileSync('bash', ['-c', script, 'bash', file, 'interlock', ...words], { encoding: 'utf8' });
  return said.split('\n').filter((word) => word !== '');
};

test('bash asks the command line, adds no space behind a part of a name, and completes files where any value may be', async () => {
  const file = join(folder, 'completion.bash');
  writeFileSync(file, await scriptFor('bash'));
  assert.deepEqual(inBash(file, ['key', 'show', '']), ['complete', '--', 'key', 'show']);
  assert.deepEqual(inBash(file, ['vm', 'st'], 'start\\nstop\\n'), ['start', 'stop']);
  assert.deepEqual(inBash(file, ['key', 'show', 'k'], 'kv1/\\n'), ['compopt -o nospace', 'kv1/']);
  assert.deepEqual(inBash(file, ['x', '--ca-file', ''], ':file\\n'), ['compopt -o default']);
});

test('the scripts are small, and zsh and fish can parse theirs', async (t) => {
  for (const shell of shells) {
    const script = await scriptFor(shell);
    assert.ok(script.length < 2_000, `${shell}: a shell loads it at each start`);
    const file = join(folder, `completion.${shell}`);
    writeFileSync(file, script);
    const { status, stderr, error } = spawnSync(shell, ['-n', file], { encoding: 'utf8' });
    if (error !== undefined) t.diagnostic(`${shell} is not on this machine`);
    else assert.deepEqual([status, stderr], [0, ''], shell);
  }
});

test('an unknown shell is refused', async () => {
  await assert.rejects(scriptFor('csh'), /Allowed choices are bash, zsh, fish/);
});
