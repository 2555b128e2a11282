import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';

const copy = mkdtempSync(join(tmpdir(), 'interlock-copy-'));
after(() => rmSync(copy, { recursive: true, force: true }));

const { INTERLOCK_DATA: _, ...env } = process.env;
/** Runs the command line of a clone as npx does. */
const interlock = (clone: string, ...args: readonly string[]) =>
  spawnSync(process.execPath, [join(clone, 'services/cli/interlock.mjs'), ...args], {
    encoding: 'utf8',
    env: { ...env, XDG_CONFIG_HOME: join(copy, 'no-contexts') },
  });

/** Copies the clone with all that it made, but for npm packages, whose links are relative, and data of clouds and tests. */
function copyClone(): void {
  const kept = (path: string): boolean => {
    const [first, second] = relative(repository, path).split('/');
    if (first === '.git' || first === 'node_modules') return false;
    return first !== '.interlock' || second === undefined || second === 'cli';
  };
  cpSync(repository, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true, filter: kept });
  symlinkSync(join(repository, 'node_modules'), join(copy, 'node_modules'));
}

test('a copied clone runs its own code on its own data folder, also with the bundle that it was copied with', () => {
  assert.equal(interlock(repository, '--version').status, 0, 'the original has its bundle');
  copyClone();
  const source = join(copy, 'services/cli/src/commands/dataset-commands.ts');
  writeFileSync(
    source,
    readFileSync(source, 'utf8').replace('names what is wrong with a data set', 'changed in the copy'),
  );
  assert.match(interlock(copy, 'dataset', 'check', '--help').stdout, /changed in the copy/);
  assert.doesNotMatch(interlock(repository, 'dataset', 'check', '--help').stdout, /changed in the copy/);
  assert.match(interlock(copy, 'vault', 'list').stderr, new RegExp(`no cloud runs on ${copy}/.interlock: start one`));
});

test('a clone that was copied while its cloud ran does not call that cloud, and names it', () => {
  const data = join(copy, '.interlock');
  mkdirSync(data, { recursive: true });
  const cloud = {
    folder: '/home/user/original/.interlock',
    addresses: {},
    control: '/home/user/original/control.sock',
  };
  writeFileSync(join(data, 'cloud.json'), JSON.stringify(cloud));
  writeFileSync(join(data, 'gateway.json'), '{}');
  const { status, stderr } = interlock(copy, 'vault', 'list');
  assert.equal(status, 3);
  assert.match(
    stderr,
    new RegExp(`no cloud runs on ${data}, a copy of ${cloud.folder} that was made while a cloud ran`),
  );
  assert.match(interlock(copy, 'fault', 'kill', 'disk').stderr, new RegExp(`no cloud runs on ${data}`));
  assert.match(interlock(copy, 'azure', 'env').stderr, /No gateway runs on/);
});
