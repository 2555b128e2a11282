import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { testProgram } from '../session/test-session.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-completion-'));
after(() => rmSync(folder, { recursive: true }));

const scriptFor = async (shell: string): Promise<string> => {
  const { run, lines } = testProgram();
  await run('completion', shell);
  return lines.join('\n');
};

/** The completions that bash offers for these words; the last word is incomplete. */
const offered = (file: string, ...words: readonly string[]): readonly string[] => {
  const script = `source "$1"; shift; compopt() { echo files; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _interlock; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const said = execFileSync('bash', ['-c', script, 'bash', file, 'interlock', ...words], { encoding: 'utf8' });
  return said.split('\n').filter((word) => word !== '');
};

test('bash completes nouns, verbs, flags and choices, also behind global flags', async () => {
  const file = join(folder, 'completion.bash');
  writeFileSync(file, await scriptFor('bash'));
  assert.ok(offered(file, '').includes('vault'));
  assert.deepEqual(offered(file, 'va'), ['vault']);
  assert.deepEqual(offered(file, 'vm', 'st'), ['start', 'stop']);
  assert.deepEqual(offered(file, '--group', 'g', 'vm', 'deal'), ['deallocate']);
  assert.deepEqual(offered(file, 'disk', 'create', 'd1', '--sk'), ['--sku']);
  assert.ok(offered(file, 'disk', 'create', 'd1', '--sku', '').includes('ultra'));
  assert.deepEqual(offered(file, 'vm', 'list', '-o', 'y'), ['yaml']);
  assert.deepEqual(offered(file, 'vm', 'start', 'vm1', '--wa'), ['--wait']);
  assert.deepEqual(offered(file, 'context', 'add', 'c', '--ca-file', ''), ['files'], 'a value that may be anything');
});

test('zsh and fish can parse their completion scripts', async (t) => {
  const zsh = await scriptFor('zsh');
  assert.match(zsh, /compdef _interlock interlock/);
  const fish = await scriptFor('fish');
  assert.match(
    fish,
    /^complete -c interlock -n '__fish_seen_subcommand_from vm; and __fish_seen_subcommand_from stop' -l wait$/m,
  );
  for (const [shell, script] of Object.entries({ zsh, fish })) {
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
