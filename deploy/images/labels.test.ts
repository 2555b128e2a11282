import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { imageLabels } from './labels.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-labels-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const request = { version: '1.2.3', description: 'Disks.', source: undefined };
/** Only the repository of the test: neither the user's configuration nor a repository around the folder. */
const env = { PATH: process.env.PATH, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CEILING_DIRECTORIES: tmpdir() };
const git = (...args: readonly string[]): string =>
  execFileSync('git', ['-C', folder, ...args], { env, encoding: 'utf8' });

test('labels an image with version, description, revision and source', async () => {
  assert.deepEqual(await imageLabels(request, folder, env), {
    'org.opencontainers.image.version': '1.2.3',
    'org.opencontainers.image.description': 'Disks.',
  });
  git('init', '--quiet');
  writeFileSync(join(folder, 'a'), '1');
  git('add', 'a');
  git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '--quiet', '--message', 'a');
  const commit = git('rev-parse', 'HEAD').trim();
  assert.equal((await imageLabels(request, folder, env))['org.opencontainers.image.revision'], commit);
  writeFileSync(join(folder, 'a'), '2');
  const labels = await imageLabels({ ...request, source: 'https://git.test/own' }, folder, env);
  assert.equal(labels['org.opencontainers.image.revision'], `${commit}-dirty`);
  assert.equal(labels['org.opencontainers.image.source'], 'https://git.test/own');
  await assert.rejects(
    imageLabels({ ...request, source: 'own' }, folder, env),
    /--source must be an http or https URL/,
  );
});

test('the source label is the remote as an https URL without credentials', async () => {
  git('init', '--quiet');
  git('remote', 'add', 'origin', 'x');
  const remotes: readonly (readonly [string, string | undefined])[] = [
    ['git@git.test:team/interlock.git', 'https://git.test/team/interlock'],
    ['ssh://git@git.test/team/interlock.git', 'https://git.test/team/interlock'],
    ['https://user:token@git.test/team/interlock.git', 'https://git.test/team/interlock'],
    ['https://git.test/team/interlock', 'https://git.test/team/interlock'],
    ['/srv/git/interlock.git', undefined],
  ];
  for (const [remote, source] of remotes) {
    git('remote', 'set-url', 'origin', remote);
    assert.equal((await imageLabels(request, folder, env))['org.opencontainers.image.source'], source, remote);
  }
});
